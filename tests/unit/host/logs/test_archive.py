"""No line is lost and none is twice, wherever a run is killed."""

from __future__ import annotations

import collections
import contextlib
import errno
import gzip
import itertools
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orquestrador.core.messages import plain
from orquestrador.logs import (
    archive as log_archive,
)
from orquestrador.logs import (
    rotation as log_files,
)
from orquestrador.logs import (
    tarball as log_tarball,
)
from orquestrador.logs.archive import archive
from orquestrador.logs.reopen import Daemon
from orquestrador.logs.selection import Options

DAY = 86400.0


@pytest.fixture(autouse=True)
def no_pm2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host of the tests may run a PM2 of its own; here there is none."""
    monkeypatch.setattr(log_archive, "look", lambda home, app, command: Daemon("missing", 0, home, []))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "webapp" / "logs"
    folder.mkdir(parents=True)
    return folder


def options(logs: Path, **more: Any) -> Options:
    given: dict[str, Any] = {
        "archive_dir": str(logs / "archive"),
        "base": str(logs.parent),
        "globs": [f"{logs}/*.log"],
        "watched": [f"{logs}/error*.log"],
        "app_name": "app",
        "pm2_home": str(logs / "none"),
        "timezone": "UTC",
    }
    return Options(**{**given, **more})


_numbers = itertools.count(1)


def write(path: Path, lines: int = 5) -> list[bytes]:
    """Append numbered lines as a script does: by name, open and close; the lines."""
    said = [b"%s line %d" % (path.name.encode(), next(_numbers)) for _ in range(lines)]
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in said))
    return said


def lines(logs: Path) -> collections.Counter[bytes]:
    """Every line in every archive, in every current log and in what waits to be archived."""
    found: collections.Counter[bytes] = collections.Counter()
    for path in [*logs.glob("*.log"), *logs.glob(".*.spool")]:
        found.update(path.read_bytes().splitlines())
    for path in (logs / "archive").glob("logs-*"):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                if member.name != "manifest.json":
                    found.update(file.read().splitlines())
    return found


def test_logs_are_archived_compared_and_gone(logs: Path) -> None:
    said = write(logs / "out.log", 100) + write(logs / "error.log", 3)
    result = archive(options(logs), now=1_700_000_000.0)
    assert result["failures"] == []
    assert result["archive"] == str(logs / "archive" / "logs-20231114.tar.gz")
    assert lines(logs) == collections.Counter(said)
    assert [(entry["name"], entry["lines"]) for entry in result["files"]] == [
        ("logs/error.log", 3),
        ("logs/out.log", 100),
    ]
    assert not (logs / "out.log").exists()
    assert oct(Path(result["archive"]).stat().st_mode & 0o777) == "0o640"
    # What the probe reads stays for a day, under a name that no archive takes up again.
    (kept,) = logs.glob(".error.log.*.kept")
    again = archive(options(logs), now=1_700_000_100.0)
    assert (again["changed"], again["archive"]) == (False, None)
    assert kept.exists()
    archive(options(logs), now=1_700_000_000.0 + 1.1 * DAY)
    assert not kept.exists()


def test_second_archive_of_a_day_has_a_name_of_its_own(logs: Path) -> None:
    said = []
    for _ in range(3):
        said += write(logs / "out.log")
        archive(options(logs), now=1_700_000_000.0)
    names = sorted(path.name for path in (logs / "archive").glob("*.gz"))
    assert names == ["logs-20231114-2.tar.gz", "logs-20231114-3.tar.gz", "logs-20231114.tar.gz"]
    assert lines(logs) == collections.Counter(said)


class Killed(BaseException):
    """As SIGKILL is: nothing that comes after it is done, whoever catches it."""


MUTATING = ("rename", "link", "unlink", "fsync", "makedirs")


@contextlib.contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, number: int, *, after: bool) -> Iterator[list[str]]:
    """Die before or after the ``number``-th change of the file system; yields what was done."""
    done: list[str] = []
    dead = False

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            nonlocal dead
            if dead:
                raise Killed
            done.append(name)
            if len(done) == number:
                dead = True
                if after:
                    real(*args, **keywords)
                raise Killed
            return real(*args, **keywords)

        return call

    with monkeypatch.context() as patch:
        for name in MUTATING:
            patch.setattr(os, name, wrapped(name, getattr(os, name)))
        yield done


@pytest.mark.parametrize("after", [False, True])
def test_killed_anywhere_and_run_again_every_line_is_in_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    points = 0
    for number in range(1, 60):
        logs = tmp_path / str(number) / "logs"
        logs.mkdir(parents=True)
        said = write(logs / "out.log", 20) + write(logs / "error.log") + write(logs / "health-monitor.log")
        with killed_at(monkeypatch, number, after=after) as done:
            try:
                archive(options(logs))
                killed = False
            except Killed:
                killed = True
        assert lines(logs).keys() == set(said), f"lost or split when killed at {number}: {done}"
        said += write(logs / "out.log") + write(logs / "error.log")
        # The second run may be killed at the same place.
        with killed_at(monkeypatch, number, after=after), contextlib.suppress(Killed):
            archive(options(logs))
        said += write(logs / "out.log")
        result = archive(options(logs))
        assert result["failures"] == []
        assert lines(logs) == collections.Counter(said), f"killed at {number}: {done}"
        left = [path.name for path in logs.rglob(".*") if not path.name.endswith(".kept") and path.name != ".lock"]
        assert left == []
        points += killed
        if not killed:
            break
    assert points >= 12, "the points that were meant to be tried"


@pytest.mark.parametrize("where", ["write", "fsync", "link"])
def test_full_disk_loses_nothing_and_says_so(logs: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    said = write(logs / "out.log", 50)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if where == "write":
            patch.setattr(tarfile.TarFile, "addfile", full)
        else:
            patch.setattr(os, where, full)
        result = archive(options(logs))
    assert "no space left" in plain(result["failures"][0])
    assert lines(logs) == collections.Counter(said)
    assert not list((logs / "archive").glob(".partial*"))
    said += write(logs / "out.log")
    assert archive(options(logs))["failures"] == []
    assert lines(logs) == collections.Counter(said)
    assert not list(logs.glob(".*.spool"))


def test_archive_that_is_not_what_was_written_is_not_believed(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = write(logs / "out.log", 50)
    real = log_tarball.write

    def damaged(path: str, *rest: Any) -> None:
        real(path, *rest)
        with Path(path).open("r+b") as file:
            file.seek(-6, os.SEEK_END)  # gzip's own checksum
            byte = file.read(1)[0]
            file.seek(-6, os.SEEK_END)
            file.write(bytes([byte ^ 255]))

    monkeypatch.setattr(log_tarball, "write", damaged)
    result = archive(options(logs))
    assert "does not hold what was put into it" in plain(result["failures"][0])
    assert not list((logs / "archive").glob("*.gz"))
    assert lines(logs) == collections.Counter(said)


def test_log_that_is_kept_open_stays_and_its_holder_is_named(logs: Path) -> None:
    said = write(logs / "app.log")
    with (logs / "app.log").open("ab") as writer:
        pid = os.fork()
        if pid == 0:  # somebody else has it open, too; this process does not look at itself
            time.sleep(30)
            os._exit(0)
        try:
            writer.close()
            result = archive(options(logs))
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    (left,) = result["left"]
    assert str(pid) in plain(left["message"])
    assert (logs / "app.log").read_bytes().splitlines() == said
    assert archive(options(logs))["archive"]
    assert lines(logs) == collections.Counter(said)


def test_writer_that_can_not_be_seen_gets_its_log_back(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = write(logs / "app.log")
    monkeypatch.setattr(log_archive, "writers", lambda files: {})
    monkeypatch.setattr(log_archive, "CLOSE_S", 0.05)
    with (logs / "app.log").open("ab"):
        result = archive(options(logs))
    assert "can't see" in plain(result["left"][0]["message"])
    assert (logs / "app.log").read_bytes().splitlines() == said


def test_writer_with_the_file_open_for_a_moment_is_waited_for(logs: Path) -> None:
    """A script opened the log before it was renamed and writes after."""
    said = write(logs / "health-monitor.log")
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        with (logs / "health-monitor.log").open("ab") as file:
            os.write(write_end, b"x")
            until = time.monotonic() + 10
            while (logs / "health-monitor.log").exists() and time.monotonic() < until:
                time.sleep(0.005)
            time.sleep(0.1)
            file.write(b"late\n")
        os._exit(0)
    os.read(read_end, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_archive, "writers", lambda files: {})  # it opened after that look
        result = archive(options(logs))
    os.waitpid(pid, 0)
    assert result["archive"]
    assert lines(logs) == collections.Counter([*said, b"late"])


def test_log_that_was_being_put_back_has_one_name_again(logs: Path) -> None:
    said = write(logs / "out.log")
    os.link(logs / "out.log", log_files.rotated_name(str(logs / "out.log"), "20260102T030405Z-0a1b2c"))
    archive(options(logs))
    assert not list(logs.glob(".*.spool"))
    assert archive(options(logs))["archive"]
    assert lines(logs) == collections.Counter(said)


def test_renamed_log_that_is_still_written_is_not_archived(logs: Path) -> None:
    """As after a kill between the renaming and the reopening: PM2 goes on writing into it."""
    spool = Path(log_files.rotated_name(str(logs / "out.log"), "20260102T030405Z-0a1b2c"))
    said = write(spool)
    with spool.open("ab") as file:
        result = archive(options(logs))
        assert (result["archive"], len(result["left"])) == (None, 1)
        file.write(b"late\n")
    assert archive(options(logs))["archive"]
    assert lines(logs) == collections.Counter([*said, b"late"])


def test_another_users_log_waits_until_it_was_left_alone(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = write(logs / "health-monitor.log")
    monkeypatch.setattr(log_archive, "held", lambda path: log_files.UNKNOWN)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    now = time.time()
    first = archive(options(logs), now=now)
    assert first["archive"] is None
    assert "belongs to" in plain(first["notes"][-1])
    assert archive(options(logs), now=now + 60)["archive"] is None
    said += write(logs / "health-monitor.log")
    assert archive(options(logs), now=now + 3700)["archive"]
    assert lines(logs) == collections.Counter(said)


def test_what_is_no_plain_log_is_left_and_named(logs: Path) -> None:
    write(logs / "real.txt")
    (logs / "link.log").symlink_to(logs / "real.txt")
    write(logs / "two.log")
    os.link(logs / "two.log", logs / "names.log")
    (logs / "folder.log").mkdir()
    (logs / "empty.log").touch()
    result = archive(options(logs, globs=[f"{logs}/*.log", f"{logs}/gone.log"]))
    assert {Path(item["path"]).name for item in result["left"]} == {"link.log", "two.log", "names.log", "folder.log"}
    assert (result["archive"], result["failures"], result["changed"]) == (None, [], False)
    assert (logs / "empty.log").exists()


def test_check_mode_changes_nothing_and_names_the_logs(logs: Path) -> None:
    write(logs / "out.log")
    before = sorted(logs.parent.rglob("*"))
    result = archive(options(logs), check_mode=True)
    assert [item["path"] for item in result["files"]] == [str(logs / "out.log")]
    assert result["changed"]
    assert sorted(logs.parent.rglob("*")) == before


def test_only_old_archives_of_ours_are_removed(logs: Path) -> None:
    folder = logs / "archive"
    start = 1_700_000_000.0
    for day in range(5):
        write(logs / "out.log")
        archive(options(logs), now=start + day * DAY)
    foreign = folder / "logs-20200101.tar.gz"
    foreign.write_bytes(gzip.compress(b"not ours"))
    other = folder / "notes.tar.gz"
    other.write_bytes(b"x")
    write(logs / "out.log")
    result = archive(options(logs), now=start + 100 * DAY)
    # Six of ours: five are old, of which the two youngest stay with the new one.
    assert [Path(item["path"]).name for item in result["removed"]] == [
        "logs-20231116.tar.gz",
        "logs-20231115.tar.gz",
        "logs-20231114.tar.gz",
    ]
    assert foreign.exists()
    assert other.exists()


def test_flush_takes_what_no_recent_archive_has(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = logs.parent / "pm2"
    (home / "logs").mkdir(parents=True)
    said = write(logs / "out.log")
    stale = write(home / "logs" / "app-out-3.log")
    other = write(home / "logs" / "another-out.log")
    monkeypatch.setattr(log_archive, "look", lambda *_: Daemon("unresponsive", 0, str(home), []))
    start = time.time()
    archive(options(logs, pm2_home=str(home)), now=start)
    result = archive(options(logs, pm2_home=str(home), flush=True), now=start + 1)
    assert [entry["path"] for entry in result["files"]] == [str(home / "logs" / "app-out-3.log")]
    assert lines(logs) == collections.Counter(said + stale)
    assert (home / "logs" / "another-out.log").read_bytes().splitlines() == other


def test_rest_that_came_after_the_archive_goes_into_the_next(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = write(logs / "out.log")
    real = log_tarball.publish

    def late(partial: str, *rest: Any) -> str:
        (spool,) = logs.glob(".out.log.*.spool")
        with spool.open("ab") as file:
            file.write(b"late\n")
        return real(partial, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(log_tarball, "publish", late)
        archive(options(logs))
    assert lines(logs) == collections.Counter([*said, b"late"])
    assert archive(options(logs))["archive"]
    assert lines(logs) == collections.Counter([*said, b"late"])
    assert not list(logs.glob(".*.spool"))
