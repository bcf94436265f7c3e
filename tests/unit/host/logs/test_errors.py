"""Nothing in a log is lost or counted twice, whatever happens to its file between two runs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orquestrador.core.messages import plain
from orquestrador.logs import baseline
from orquestrador.logs import errors as logs

NOW = 1_762_000_000.0  # 2025-11-01T12:26:40Z
MIB = 1 << 20
TRACE = "    at f (/home/flavio/webapp/dist/a.js:1:2)\n    at g (node:net:1:1)\n"


def stamp(ago_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S +00:00: ", time.gmtime(NOW - ago_s))


class Host:
    """A directory of logs, and an operator who looks at it now and then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "error.log"
        self.memory: dict[str, Any] | None = None
        self.now = NOW
        self.state: dict[str, Any] = {}
        self.findings: list[Any] = []

    def write(self, text: str | bytes, path: Path | None = None, *, idle: bool = False) -> None:
        path = path or self.log
        with path.open("ab") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        self.touch(path, idle=idle)

    def touch(self, path: Path, *, idle: bool = False) -> None:
        when = self.now - (60 if idle else 0)
        os.utime(path, (when, when))

    def run(self, *globs: str, **options: Any) -> int:
        """One run; how many errors it saw. What it remembers crosses the wire as JSON."""
        options = {"deadline_s": 30.0, "max_bytes": 64 * MIB, **options}
        patterns = [str(self.folder / g) for g in globs or ("error*.log", "pm2-error*.log")]
        state, memory, self.findings = logs.collect(patterns, self.memory, now=self.now, **options)
        self.state = dict(state)
        self.memory = json.loads(json.dumps(memory))
        json.dumps(state)
        return int(self.state["errors"])

    def codes(self) -> list[str]:
        return [f["code"] for f in self.findings]

    def report(self, path: Path | None = None) -> dict[str, Any]:
        (found,) = [f for f in self.state["files"] if f["path"] == str(path or self.log)]
        return dict(found)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_only_what_is_new_is_read_and_counted(host: Host) -> None:
    host.write(stamp(60) + "Error: a\n" + TRACE)
    assert host.run() == 1
    assert host.state["window"]["first"] is True
    assert host.run() == 0
    assert host.report()["read_bytes"] == 0
    host.write(stamp(5) + "Error: b\n" + TRACE)
    assert host.run() == 1
    assert host.report()["read_bytes"] < 200
    assert host.state["errors_day"] == 2
    assert host.state["window"] == {
        "since": "2025-11-01T12:26:40Z",
        "until": "2025-11-01T12:26:40Z",
        "first": False,
        "complete": True,
        "fingerprints_total": 1,
        "fingerprints_new": 1,
    }


def test_a_first_run_counts_the_last_day(host: Host) -> None:
    host.write(stamp(86400 + 600) + "old\n" + stamp(86400 - 600) + "young\n" + stamp(1) + "now\n")
    assert host.run() == 2
    assert host.state["errors_day"] == 2
    assert host.state["window"]["since"] == "2025-10-31T12:26:40Z"


def test_a_log_that_nobody_wrote_to_for_a_day_has_no_errors_of_today(host: Host) -> None:
    host.write("undated\n")
    os.utime(host.log, (NOW - 90000, NOW - 90000))
    assert host.run() == 0
    assert host.report()["read_bytes"] == 0
    assert host.state["window"]["complete"] is True


def test_the_day_slides(host: Host) -> None:
    host.write(stamp(3600) + "a\n" + stamp(60) + "b\n")
    assert host.run() == 2
    host.now += 86400 - 1800
    assert host.run() == 0
    assert host.state["errors_day"] == 1
    host.now += 3600
    host.run()
    assert host.state["errors_day"] == 0


def test_errors_since_a_run_of_long_ago_all_count_but_not_all_of_them_today(host: Host) -> None:
    host.write(stamp(60) + "a\n")
    host.run()
    host.write(stamp(-3600) + "b\n" + stamp(-5 * 86400) + "c\n")
    host.now += 5 * 86400 + 60
    host.touch(host.log)
    assert host.run() == 2
    assert host.state["errors_day"] == 1


def test_fingerprints_are_new_once_and_ordered_by_count(host: Host) -> None:
    host.write(stamp(9) + "Error: user 1 password=hunter2hunter2\n" + (stamp(8) + "Error: b\n") * 2)
    host.run()
    first, second = host.state["fingerprints"]
    assert (first["sample"], first["count"], first["new"]) == ("Error: b", 2, True)
    assert (second["sample"], second["new"]) == ("Error: user 1 password=***", True)
    assert (first["first_at"], first["last_at"]) == ("2025-11-01T12:26:32Z", "2025-11-01T12:26:32Z")
    assert "hunter2" not in json.dumps([host.state, host.memory])
    host.write(stamp(1) + "Error: b\n" + stamp(1) + "Error: c\n")
    host.run()
    assert {f["sample"]: f["new"] for f in host.state["fingerprints"]} == {"Error: b": False, "Error: c": True}


def test_many_fingerprints_are_bounded_here_and_in_memory(host: Host) -> None:
    words = [f"{a}{b}{c}" for a in "ghijklmnop" for b in "ghijklmnop" for c in "ghijklmnopqrstuvwxyz"]
    host.write("".join(f"{stamp(9)}failed in {word}\n" for word in words))
    assert host.run() == 2000
    assert len(host.state["fingerprints"]) == 20
    assert host.state["window"]["fingerprints_total"] == 2000
    assert host.memory is not None
    assert len(host.memory["known"]) == 500
    assert len(json.dumps(host.memory)) < 40_000


def test_a_trace_that_spans_two_runs_is_one_event(host: Host) -> None:
    host.write(stamp(1) + "Error: a\n")
    assert host.run() == 1
    host.write(TRACE)
    assert host.run() == 0
    whole = Host(host.folder / "whole")
    whole.folder.mkdir()
    whole.write(stamp(1) + "Error: a\n" + TRACE)
    whole.run()
    assert host.memory is not None
    assert whole.memory is not None
    assert set(host.memory["known"]) == set(whole.memory["known"])


def test_an_unfinished_line_waits_is_finished_or_counted_in_the_end(host: Host) -> None:
    host.write(stamp(1) + "Error: conn")
    assert host.run() == 0
    host.write("ection lost\n")
    assert host.run() == 1
    assert host.state["fingerprints"][0]["sample"] == "Error: connection lost"
    host.write("last words")
    assert [host.run(), host.run(), host.run()] == [0, 1, 0]
    host.write(" were longer\nnext\n")
    assert host.run() == 1
    assert host.state["fingerprints"][0]["sample"] == "next"


def test_an_unfinished_line_that_nobody_writes_is_counted_at_once(host: Host) -> None:
    host.write(stamp(60) + "last words", idle=True)
    assert [host.run(), host.run()] == [1, 0]


@pytest.mark.parametrize("place", ["error.log.1", "archive/error-20251101.log", "error-20251101.log"])
def test_a_rotated_file_is_read_to_its_end_before_its_successor(host: Host, place: str) -> None:
    host.write(stamp(60) + "a\n")
    host.run()
    host.write(stamp(50) + "Error: b\n")
    target = host.folder / place
    target.parent.mkdir(exist_ok=True)
    host.log.rename(target)
    host.write("  errno: 5\n" + TRACE + stamp(40) + "c\n")  # the trace of b went to the new file
    assert host.run() == 2
    assert host.codes() == []
    assert host.state["window"]["complete"] is True
    assert host.report(target)["rotated"] is True
    assert host.report()["rotated"] is True
    assert host.run() == 0
    host.write(stamp(1) + "d\n", target)  # its writer had not let go of it
    host.write(stamp(1) + "e\n")
    assert host.run() == 2


def test_a_rotated_file_without_a_successor_yet_is_still_read(host: Host) -> None:
    host.write(stamp(60) + "a\n")
    host.write("x\n", host.folder / "pm2-error.log")
    host.run()
    host.write(stamp(50) + "b\n")
    host.log.rename(host.folder / "error.log.1")
    assert host.run() == 1
    host.write(stamp(1) + "c\n")
    assert [host.run(), host.run()] == [1, 0]


def test_a_rotated_file_that_is_gone_is_said_and_its_successor_read(host: Host) -> None:
    host.write(stamp(60) + "a\n" * 50)
    host.run()
    host.log.unlink()
    (host.folder / "other").write_text("takes the inode, as file systems do\n")
    host.write(stamp(90) + "seen before\n" + stamp(50) + "b\n")
    assert host.run() == 1
    assert host.codes() == ["rotated_away"]
    assert host.state["window"]["complete"] is False


@pytest.mark.parametrize("new", ["b\n", "b\n" * 400])
def test_a_truncated_file_is_begun_again(host: Host, new: str) -> None:
    host.write(stamp(60) + "a\n" * 50)
    host.run()
    os.truncate(host.log, 0)
    host.write(new)
    assert host.run() == new.count("\n")
    assert host.report()["truncated"] is True
    assert host.run() == 0


def test_a_rewrite_that_keeps_the_head_is_noticed(host: Host) -> None:
    head = "".join(f"{stamp(60)}a{i}\n" for i in range(20))
    host.write(head + stamp(50) + "old tail\n")
    host.run()
    os.truncate(host.log, 0)
    host.write(head + stamp(40) + "new tail, longer than the old one\n")
    host.run()
    assert host.report()["truncated"] is True


def test_a_rewrite_that_keeps_what_stood_before_the_offset_is_noticed(host: Host) -> None:
    tail = "".join(f"{stamp(50)}same{i}\n" for i in range(20))
    host.write(stamp(60) + "one\n" + tail)
    host.run()
    os.truncate(host.log, 0)
    host.write(stamp(60) + "two\n" + tail)
    host.run()
    assert host.report()["truncated"] is True


@pytest.mark.parametrize("copy", ["error.log.1", "error-1.log"])
def test_copy_and_truncate_counts_nothing_twice(host: Host, copy: str) -> None:
    host.write(stamp(60) + "a\n")
    host.run()
    host.write(stamp(50) + "b\n")
    shutil.copy(host.log, host.folder / copy)
    host.touch(host.folder / copy)
    os.truncate(host.log, 0)
    host.write(stamp(40) + "c\n")
    # Only a copy that log_globs asks for can be read; what follows is counted in either case.
    assert host.run() == (2 if copy == "error-1.log" else 1)
    assert host.state["errors_day"] == (3 if copy == "error-1.log" else 2)


def test_two_instances_that_fail_alike_are_two_files(host: Host) -> None:
    text = (stamp(60) + "Error: the same\n" + TRACE) * 5
    host.write(text, host.folder / "error-0.log")
    assert host.run() == 5
    host.now += 60
    host.write(text.replace(stamp(60), stamp(60)), host.folder / "error-1.log")
    host.write(stamp(-30) + "Error: the same\n", host.folder / "error-1.log")
    assert host.run() == 1  # what is dated before the last run is no news, what is dated after it is


def test_a_sparse_file_left_by_a_writer_that_does_not_append(host: Host) -> None:
    host.write(stamp(60) + "a\n" * 100)
    host.run()
    size = host.log.stat().st_size
    os.truncate(host.log, 0)
    os.truncate(host.log, size)
    host.write(stamp(50) + "b\n")
    assert host.run() == 1


def test_files_are_read_once_however_many_globs_match(host: Host) -> None:
    host.write(stamp(60) + "a\n")
    (host.folder / "error-link.log").symlink_to(host.log)
    os.link(host.log, host.folder / "error-hard.log")
    assert host.run("error*.log", "*.log", "error.log") == 1
    assert len(host.state["files"]) == 1


def test_no_match_at_all_is_a_finding(host: Host) -> None:
    assert host.run("nothing*.log", "error*.log") == 0
    assert host.codes() == ["missing"]
    assert [f["missing"] for f in host.state["files"]] == [True, True]
    assert host.state["window"]["complete"] is False
    host.now += 60
    host.write(stamp(-30) + "a\n")
    assert host.run("nothing*.log", "error*.log") == 1
    assert host.codes() == []


def test_a_file_that_fails_to_open_leaves_the_others_alone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write(stamp(60) + "a\n")
    host.write(stamp(60) + "b\n", host.folder / "pm2-error.log")
    host.run()
    host.write(stamp(50) + "c\n")
    host.write(stamp(50) + "d\n", host.folder / "pm2-error.log")
    original = os.open

    def refusing(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path) == str(host.log):
            raise PermissionError(13, "Permission denied")
        return original(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        assert host.run() == 1
    assert host.codes() == ["unreadable"]
    assert plain(host.findings[0]["message"]) == f"{host.log} cannot be read: Permission denied"
    assert host.report()["readable"] is False
    assert host.state["window"]["complete"] is False
    assert host.run() == 1  # and nothing of it was lost


def test_what_is_no_file_never_blocks(host: Host) -> None:
    os.mkfifo(host.folder / "error-fifo.log")
    (host.folder / "error-dir.log").mkdir()
    (host.folder / "error-dangling.log").symlink_to("nowhere")
    host.write(stamp(60) + "a\n")
    assert host.run() == 1
    assert host.codes() == ["not_a_file"]


def test_binary_content_is_a_finding_and_no_error(host: Host) -> None:
    host.write(bytes(range(1, 10)) * 50 + b"\n" + bytes(range(128, 256)) * 3 + b"\n")
    host.write(stamp(5) + "a\n")
    assert host.run() == 1
    assert host.codes() == ["binary"]


def test_too_many_files_are_a_finding_and_the_newest_are_read(host: Host) -> None:
    for number in range(baseline.MAX_FILES + 3):
        path = host.folder / f"error-{number}.log"
        host.write(stamp(5) + "a\n", path)
        os.utime(path, (NOW - number, NOW - number))
    assert host.run() == baseline.MAX_FILES
    assert host.codes() == ["too_many_files"]


def test_the_health_monitor_log_counts_only_its_errors(host: Host) -> None:
    when = stamp(60)[:19]
    host.write(f"{when} [INFO] a\n----\n{when} [ERROR] b\n", host.folder / "health-monitor.log")
    host.write("plain\n", host.folder / "out.log")
    assert host.run("*.log") == 1


def test_a_first_run_on_a_large_file_reads_only_its_last_day(host: Host) -> None:
    line = "[INFO] " + "x" * 200 + "\n"
    with host.log.open("w") as file:
        for hour in range(400, 0, -1):
            file.write((stamp(hour * 3600) + line) * 100)
            file.write(stamp(hour * 3600) + "Error: hourly\n")
    host.touch(host.log)
    size = host.log.stat().st_size
    assert host.run() == 24
    assert host.report()["read_bytes"] < size / 8
    assert host.state["window"]["complete"] is True


def test_a_first_run_is_bounded_from_the_end_and_says_so(host: Host) -> None:
    with host.log.open("w") as file:
        for number in range(30_000):
            file.write(f"{stamp(3600 - number / 10)}[INFO] {'x' * 80}\n")
        file.write(stamp(5) + "Error: last\n")
    host.touch(host.log)
    assert host.run(max_bytes=MIB) == 1
    assert host.state["window"]["complete"] is False
    assert host.report()["complete"] is False
    assert host.report()["read_bytes"] <= 2 * MIB
    assert host.run() == 0
    assert host.state["window"]["complete"] is True


def test_a_later_run_is_bounded_and_goes_on_where_it_stopped(host: Host) -> None:
    host.write(stamp(60) + "a\n")
    host.run()
    host.write((stamp(50) + "Error: b " + "x" * 1000 + "\n") * 3000)
    seen = []
    while not seen or not host.state["window"]["complete"]:
        seen.append(host.run(max_bytes=MIB))
        assert len(seen) < 10
    assert len(seen) >= 3
    assert sum(seen) == 3000


def test_the_deadline_stops_the_reading_and_loses_nothing(host: Host) -> None:
    host.write(stamp(60) + "a\n" + stamp(90000) + "too old\n")
    host.write(stamp(60) + "b\n", host.folder / "pm2-error.log")
    assert host.run(deadline_s=0.0) == 0
    assert host.state["window"]["complete"] is False
    assert host.run() == 2
    assert host.state["window"]["complete"] is True


def test_one_endless_line_costs_little_and_does_not_stop_progress(host: Host) -> None:
    host.write(stamp(90) + "[INFO] start\n")
    host.run()
    host.write(stamp(60) + "Error: a " + "x" * 12 * MIB)
    tracemalloc.start()
    try:
        assert host.run(max_bytes=2 * MIB) + host.run(max_bytes=64 * MIB) == 1
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()
    host.write("y" * 3 * MIB + "\n" + stamp(5) + "Error: b\n")
    assert host.run() == 1
    assert host.state["fingerprints"][0]["sample"] == "Error: b"


def test_two_gigabytes_without_a_newline_are_read_within_their_bounds(host: Host) -> None:
    host.write(stamp(60) + "a\n")
    os.truncate(host.log, 2 << 30)  # sparse: NULs
    host.write("\n" + stamp(5) + "Error: end\n")
    started = time.monotonic()
    assert host.run(max_bytes=4 * MIB) == 1
    assert time.monotonic() - started < 10
    assert host.state["window"]["complete"] is False


def test_a_file_that_grows_while_it_is_read_is_read_up_to_where_it_was(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.write(stamp(60) + "a\n")
    original = os.pread

    def growing(fd: int, length: int, offset: int) -> bytes:
        host.write(stamp(1) + "late\n")
        return original(fd, length, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", growing)
        assert host.run() == 1
    late = host.log.read_text().count("late")
    assert host.run() == late


def test_timestamps_of_the_future_count_now(host: Host) -> None:
    host.write(stamp(-900000) + "from the future\n")
    assert host.run() == 1
    assert host.state["errors_day"] == 1
    assert host.state["fingerprints"][0]["last_at"] == "2025-11-01T12:26:40Z"


def test_a_clock_that_goes_back_loses_nothing(host: Host) -> None:
    host.write(stamp(60) + "a\n")
    host.run()
    host.now -= 7200
    host.write(stamp(7100) + "b\n")
    assert host.run() == 1
    assert host.state["window"]["since"] <= host.state["window"]["until"]


def test_a_file_that_is_no_longer_asked_for_is_let_go(host: Host) -> None:
    host.write(stamp(60) + "a\n")
    host.write(stamp(60) + "b\n", host.folder / "pm2-error.log")
    host.run()
    host.write(stamp(50) + "c\n")
    assert host.run("pm2-error.log") == 0
    assert host.memory is not None
    assert list(host.memory["files"]) == [str(host.folder / "pm2-error.log")]


LINES = st.sampled_from(
    [
        b"boom\n",
        b"Error: x\n",
        b"    at f (/a/b.js:1:2)\n",
        b"    at n (node:net:1:1)\n",
        b"}\n",
        b"\n",
        b"/a/x.js:12\n",
        b"  indented\n",
        b"[INFO] fine\n",
        b"warn: x\n",
        b"\x00",
        b"\xff\n",
        b"partial",
        *(stamp(ago).encode() + t for ago in (600, 599, 300) for t in (b"boom\n", b"  deep\n", b"[INFO] i\n", b"")),
    ]
)
CONTENT = st.lists(LINES | st.binary(max_size=8), max_size=10).map(b"".join)


def settle(host: Host) -> tuple[int, set[str]]:
    """Run until what is left unfinished has been counted, too."""
    total = host.run() + host.run()
    assert host.run() == 0
    assert host.memory is not None
    return total, set(host.memory["known"])


@given(CONTENT, st.integers(0, 300), st.booleans())
@settings(max_examples=150, deadline=None)
def test_splitting_the_bytes_anywhere_changes_nothing(content: bytes, cut: int, rotate: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        whole, split = Host(Path(place) / "whole"), Host(Path(place) / "split")
        for host in (whole, split):
            host.folder.mkdir()
        whole.write(content)
        expected = settle(whole)
        split.write(content[:cut])
        before = split.run()
        assert before >= 0
        split.write(content[cut:])
        if rotate:
            split.log.rename(split.folder / "error.log.1")
            split.write(b"")
        total, known = settle(split)
        assert (before + total, known) == expected
        assert split.codes() == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_memory_raises(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        host = Host(Path(place))
        host.write(stamp(60) + "a\n")
        host.run()
        assert host.memory is not None
        entry = host.memory["files"][str(host.log)]
        target = data.draw(
            st.sampled_from([host.memory, host.memory["files"], entry, entry["st"], host.memory["known"]])
        )
        target[data.draw(st.sampled_from(sorted(target)))] = data.draw(JSON)
        assert host.run() >= 0
        assert host.state["errors_day"] >= 0
        host.memory = data.draw(JSON)
        assert host.run() in (0, 1)


@given(st.lists(st.text(max_size=10) | st.sampled_from(["[", "**", "a\0b", "", "~", "[!"]), max_size=3))
@settings(max_examples=50, deadline=None)
def test_no_glob_raises(patterns: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        logs.collect([f"{place}/{p}" for p in patterns], None, now=NOW, deadline_s=1.0, max_bytes=MIB)


def test_a_directory_that_may_not_be_read_is_not_just_a_missing_log(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs.os, "access", lambda path, mode: str(path) != str(host.folder))
    host.run("hidden*.log")
    assert host.codes() == ["unreadable", "missing"]
