"""``runbook history``: what goes out comes back as it was, and a bad line is told with its number."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orquestrador_ops import cli
from orquestrador_ops.cli import words
from orquestrador_ops.cli.commands import history as histories
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.baseline import STORE
from orquestrador_ops.sla.data import series as samples
from orquestrador_ops.sla.data import store as stores

ROOT = Path(__file__).resolve().parents[5]
START = 1_760_000_000.0


def minutes(count: int = 120, start: float = START) -> samples.Series:
    made = samples.empty(count)
    made["at"] = start + 60.0 * np.arange(count)
    made["latency_ms"] = np.arange(count) + 0.5
    made["flags"] = samples.INSIDE_PROBED | samples.INSIDE_GOOD
    made["flags"][7:8] = samples.INSIDE_PROBED
    return made


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPS_HISTORY_URL", raising=False)
    monkeypatch.setenv("OPS_LOCALE", "en")
    monkeypatch.setenv("OPS_TIMEZONE", "UTC")
    words.translator.cache_clear()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with open_history(tmp_path / "state") as store:
        stores.write_series(store, "web-01", minutes(), "test")
        stores.write_series(store, "web-02", minutes(3), "test")
    return tmp_path / "state"


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["history", *arguments])
    done = capsys.readouterr()
    assert "Traceback" not in done.err + done.out
    return status, done.out, done.err


@pytest.mark.parametrize("name", ["probes.csv", "probes.jsonl"])
def test_what_goes_out_comes_back(state: Path, tmp_path: Path, capsys: Any, name: str) -> None:
    target, other = tmp_path / name, tmp_path / "other"
    status, out, _ = asked(capsys, "export", str(target), "--state-dir", str(state))
    assert (status, out) == (0, f"123 probes written to {target}\n")
    status, out, _ = asked(capsys, "import", str(target), "--state-dir", str(other))
    fmt = target.suffix[1:]
    lines = 124 if fmt == "csv" else 123
    assert status == 0
    assert out.startswith(f"{lines} lines read ({fmt}): 123 probes stored, 0 known already, 0 rejected")
    with open_history(other) as store:
        assert stores.hosts(store) == ["web-01", "web-02"]
        assert stores.series(store, "web-01", 0, 2e9).tobytes() == minutes().tobytes()
    status, out, _ = asked(capsys, "import", str(target), "--state-dir", str(other))
    assert (status, "0 probes stored, 123 known already" in out) == (0, True)


def test_standard_output_and_input(state: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, err = asked(capsys, "export", "-", "--host", "web-02", "--state-dir", str(state))
    assert asked(capsys, "export", "--host", "web-02", "--state-dir", str(state))[1] == out, "what a shell redirects"
    assert (status, err) == (0, "")
    assert [json.loads(line)["ok"] for line in out.splitlines()] == [True] * 3
    packed = io.TextIOWrapper(io.BytesIO(gzip.compress(out.encode())))
    monkeypatch.setattr(sys, "stdin", packed)
    status, out, _ = asked(capsys, "import", "-", "--state-dir", str(tmp_path / "other"), "--json")
    found = json.loads(out)
    assert (status, found["stored"], found["hosts"]) == (0, 3, ["web-02"])


def test_a_part_of_it(state: Path, capsys: Any) -> None:
    where = ("export", "-", "--host", "web-01", "--state-dir", str(state), "--format", "csv")
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + 600))
    assert len(asked(capsys, *where, "--to", until)[1].splitlines()) == 1 + 10
    assert len(asked(capsys, *where, "--from", until)[1].splitlines()) == 1 + 110


def test_lines_that_are_none_are_told_with_their_numbers(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "half.jsonl"
    good = '{"host": "web-01", "at": "2025-10-09T12:00:00Z", "ok": true, "latency_ms": 12}'
    file.write_text(f'{good}\n{{"host": "web-01", "at": "someday", "ok": true}}\n{good[:-20]}')
    status, out, err = asked(capsys, "import", str(file), "--state-dir", str(tmp_path / "state"))
    assert (status, err) == (1, "")
    first, *rejected = out.splitlines()
    assert "1 probes stored, 0 known already, 2 rejected" in first
    assert [line.split(":")[0] for line in rejected] == ["  line 2", "  line 3"]


def test_the_monitor_s_own_log(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "health-monitor.log"
    file.write_text("2025-10-09 12:00:00 [INFO] System healthy\n2025-10-09 12:05:00 [ERROR] Health check failed\n")
    status, _, err = asked(capsys, "import", str(file), "--state-dir", str(tmp_path / "state"))
    assert (status, err.count("\n")) == (2, 1)
    assert "give it with --host" in err
    status, out, _ = asked(capsys, "import", str(file), "--host", "web-01", "--state-dir", str(tmp_path / "state"))
    assert "(health-monitor)" in out
    with open_history(tmp_path / "state") as store:
        assert len(stores.series(store, "web-01", 0, 2e9)) >= 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("import", "{tmp}/none.jsonl"), 2, "cannot be read: No such file"),
        (("import", "{tmp}"), 2, "cannot be read: Is a directory"),
        (("import", "{tmp}/some.xml", "--format", "xml"), 2, '"xml" is not an import format'),
        (("import", "{tmp}/some.xml"), 2, "the format is not recognised"),
        (("export", "{tmp}/out.csv", "--host", "nobody"), 2, "there are no samples of nobody"),
        (("export", "{tmp}/none/out.csv"), 1, "cannot be written: No such file"),
        (("export", "{tmp}/out.csv", "--from", "someday"), 2, '"someday" is not a time'),
        (("roll-up", "--raw-days", "500"), 2, "--fine-days 400 is less than --raw-days 500"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    state: Path, tmp_path: Path, capsys: Any, arguments: tuple[str, ...], status: int, said: str
) -> None:
    (tmp_path / "some.xml").write_text("<probes/>\n")
    given = [one.replace("{tmp}", str(tmp_path)) for one in arguments]
    done, out, err = asked(capsys, *given, "--state-dir", str(state))
    assert (done, out, err.count("\n")) == (status, "", 1)
    assert said in err
    assert not (tmp_path / "out.csv").exists()
    assert [one for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_store_that_cannot_be_written_is_one_line(state: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    file = tmp_path / "more.jsonl"
    file.write_text('{"host": "web-01", "at": "2025-12-09T12:00:00Z", "ok": true, "latency_ms": 12}\n')
    monkeypatch.setenv("OPS_HISTORY_URL", f"sqlite:///file:{state / STORE}?mode=ro&uri=true")
    status, out, err = asked(capsys, "import", str(file), "--state-dir", str(state))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "cannot be written" in err
    assert cli.main(["sla", "--period", "2025-10", "--state-dir", str(state)]) in (1, 3), "it can be read all the same"


def test_full_disk_is_one_line_and_what_is_known_stays(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    lines = (
        f'{{"host": "web-09", "at": {START + 61 * n}, "ok": true, "latency_ms": {n % 900}}}\n' for n in range(20_000)
    )
    file.write_text("".join(lines))
    size = (state / STORE).stat().st_size + 100_000
    done = subprocess.run(
        [sys.executable, "-m", "orquestrador_ops.cli", "history", "import", str(file), "--state-dir", str(state)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPS_LOCALE": "en"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert "full" in done.stderr
    with open_history(state) as store:
        assert stores.series(store, "web-01", 0, 2e9).tobytes() == minutes().tobytes()


def test_roll_up_changes_no_figure(tmp_path: Path, capsys: Any) -> None:
    long_ago = 1_700_000_000.0 // 86400 * 86400
    with open_history(tmp_path) as store:
        stores.write_series(store, "web-01", minutes(3 * 1440, long_ago), "test")
    where = ("sla", "--from", "2023-11-14", "--to", "2023-11-17", "--json", "--state-dir", str(tmp_path))

    def figures() -> list[Any]:
        cli.main(list(where))
        slas = json.loads(capsys.readouterr().out)["slas"]
        return [[one[name] for name in ("value", "good", "total", "worst", "best", "coverage")] for one in slas]

    before = figures()
    assert before[0][2] == 3 * 1440
    status, out, _ = asked(capsys, "roll-up", "--state-dir", str(tmp_path))
    assert (status, out.startswith("Rolled up")) == (0, True)
    assert figures() == before
    assert asked(capsys, "roll-up", "--state-dir", str(tmp_path))[1] == "Nothing is old enough to be rolled up.\n"


def test_an_import_that_rejects_much_shows_some_of_it_without_control_characters() -> None:
    rejected = [{"line": number, "reason": "no\x1b[31m\nnumber"} for number in range(99)]
    result = {"read": 100, "format": "csv", "stored": 1, "duplicates": 0, "rejected": rejected, "rejected_total": 99}
    lines = list(histories.import_lines(result))
    assert len(lines) == histories.MAX_REJECTED + 2
    assert lines[-1].strip() == f"{99 - histories.MAX_REJECTED} more"
    assert all("\x1b" not in line and "\n" not in line for line in lines)


def test_probes_are_not_put_together_a_second_time_before_the_first(state: Path) -> None:
    with pytest.raises(words.CliError):
        histories.roll_up(state, raw_days=90, fine_days=30)
