"""``runbook sla``: known outages give known figures, the exit status is for scripts, and what cannot be is one line."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orquestrador_ops import cli
from orquestrador_ops.cli import words
from orquestrador_ops.cli.commands import sla as service
from orquestrador_ops.cli.commands import sla_table
from orquestrador_ops.core.i18n import epoch
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.baseline import STORE
from orquestrador_ops.sla.data import series as samples
from orquestrador_ops.sla.data import store as stores
from tests.unit import children

ROOT = Path(__file__).resolve().parents[5]
MONTH = ("--period", "2025-10")
START = epoch("2025-10-01T00:00:00+00:00") or 0.0
MINUTES = 31 * 24 * 60
KEYS = {
    "id",
    "objective",
    "value",
    "good",
    "total",
    "worst",
    "best",
    "coverage",
    "budget_minutes",
    "remaining_minutes",
    "met",
    "action",
}


def month(down: dict[int, int] | None = None, unseen: tuple[int, int] = (0, 0)) -> samples.Series:
    """October 2025, a probe a minute, 20 ms each: ``down`` maps minutes to how many are bad, ``unseen`` is left out."""
    made = samples.empty(MINUTES)
    made["at"] = START + 60.0 * np.arange(MINUTES)
    made["latency_ms"] = 20.0
    made["flags"] = samples.INSIDE_SEEN | samples.INSIDE_GOOD
    for first, count in (down or {}).items():
        made["flags"][first : first + count] = samples.INSIDE_SEEN
    return np.concatenate((made[: unseen[0]], made[unseen[1] :]))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """web-01 was down twice for 4 minutes, web-02 once for 50, web-03 was not looked at for two hours."""
    directory = tmp_path_factory.mktemp("recorded")
    with open_history(directory) as store:
        stores.write_series(store, "web-01", month({600: 4, 30_000: 4}), "test")
        stores.write_series(store, "web-02", month({20_000: 50}), "test")
        stores.write_series(store, "web-03", month(unseen=(5000, 5120)), "test")
    return directory


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPS_HISTORY_URL", raising=False)
    monkeypatch.delenv("OPS_STATE_DIR", raising=False)
    monkeypatch.setenv("OPS_LOCALE", "en")
    monkeypatch.setenv("OPS_TIMEZONE", "UTC")
    words.translator.cache_clear()


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(list(arguments))
    done = capsys.readouterr()
    assert "Traceback" not in done.err + done.out
    return status, done.out, done.err


def test_document_has_the_keys_that_scripts_read(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = asked(capsys, "sla", "--host", "web-01", *MONTH, "--json", "--state-dir", str(recorded))
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert [one["id"] for one in found["slas"]] == ["uptime", "response", "availability", "error_rate", "recovery"]
    assert all(set(one) >= KEYS for one in found["slas"])
    assert found["hosts"]["web-01"]["slas"] == found["slas"]
    uptime = found["slas"][0]
    assert (uptime["good"], uptime["total"]) == (MINUTES - 8, MINUTES)
    assert uptime["value"] == pytest.approx(1 - 8 / MINUTES, abs=1e-12)
    assert uptime["budget_minutes"] == pytest.approx(44.64)
    assert uptime["remaining_minutes"] == pytest.approx(44.64 - 8)
    assert uptime["title"] == "Uptime"
    down = [("2025-10-01T10:00:00+00:00", "2025-10-01T10:04:00+00:00", 240.0)]
    assert [(one["from"], one["to"], one["seconds"]) for one in found["incidents"]][:1] == down
    assert [one["seconds"] for one in found["incidents"]] == [240.0, 240.0]


@pytest.mark.parametrize(
    ("host", "status", "verdict"), [("web-01", 0, "met"), ("web-02", 1, "missed"), ("web-03", 3, "unproven")]
)
def test_status_is_for_scripts(
    recorded: Path, capsys: pytest.CaptureFixture[str], host: str, status: int, verdict: str
) -> None:
    where = ("--host", host, "--state-dir", str(recorded))
    done, out, _ = asked(capsys, "sla", *where, *MONTH, "--json")
    assert done == status
    assert json.loads(out)["slas"][0]["verdict"] == verdict


def test_all_hosts_are_shown_and_the_worst_counts(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = asked(capsys, "sla", *MONTH, "--state-dir", str(recorded))
    assert (status, err) == (1, "")
    assert [out.index(f"web-0{number}: 2025-10") for number in (1, 2, 3)] == sorted(
        out.index(f"web-0{number}: 2025-10") for number in (1, 2, 3)
    )
    assert "MISSED" in out
    assert "not proven" in out
    assert "down from 2025-10-14 21:20:00 for 50 min" in out
    assert "Automatic recovery" in out, "what the playbook wants done"
    # A column that says nothing is none.
    assert [part.count("Worst … best") for part in out.split("web-0")[1:]] == [0, 0, 1]
    document = json.loads(asked(capsys, "sla", *MONTH, "--json", "--state-dir", str(recorded))[1])
    assert sorted(document["hosts"]) == ["web-01", "web-02", "web-03"]
    assert "slas" not in document


def test_from_to_and_objectives_of_ones_own(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("sla", "--host", "web-01", "--state-dir", str(recorded), "--json")
    day = ("--from", "2025-10-01", "--to", "2025-10-02")
    status, out, _ = asked(capsys, *where, *day)
    found = json.loads(out)
    assert status == 1, "four minutes of a day are more than a thousandth"
    assert found["slas"][0]["value"] == pytest.approx(1 - 4 / 1440)
    easy = ("--objective", "uptime=99%", "--objective", "availability=0.99", "--objective", "error_rate=1%")
    status, out, _ = asked(capsys, *where, *day, *easy)
    assert (status, json.loads(out)["slas"][0]["objective"]) == (0, 0.99)


def test_a_longer_hold_closes_gaps(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("sla", "--host", "web-03", "--state-dir", str(recorded), *MONTH, "--json")
    for more, covered in (((), MINUTES * 60 - 7200 + 240), (("--gap", "7260"), MINUTES * 60)):
        found = json.loads(asked(capsys, *where, *more)[1])["slas"][0]
        assert found["coverage"] == pytest.approx(covered / (MINUTES * 60), abs=1e-9)


def test_inventory_s_objectives_are_those_that_the_playbook_left(tmp_path: Path, capsys: Any) -> None:
    with open_history(tmp_path) as store:
        stores.write_series(store, "web-01", month({600: 4}), "test")
        store.remember("web-01", "sla", {"objectives": {"uptime": 0.99999, "nonsense": 1}, "burn": {}})
    status, out, _ = asked(capsys, "sla", *MONTH, "--json", "--state-dir", str(tmp_path))
    assert (status, json.loads(out)["slas"][0]["objective"]) == (1, 0.99999)
    with open_history(tmp_path) as store:
        store.remember("web-01", "sla", {"objectives": {"uptime": 7}})
    assert (
        json.loads(asked(capsys, "sla", *MONTH, "--json", "--state-dir", str(tmp_path))[1])["slas"][0]["objective"]
        == 0.999
    ), "what makes no sense is not believed"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--period", "2999"), 2, "still to come"),
        (("--period", "someday"), 2, 'There is no period "someday"'),
        (("--from", "2025-10-02", "--to", "2025-10-01"), 2, "not after it begins"),
        (("--from", "yesterday"), 2, '"yesterday" is no time'),
        (("--period", "month", "--from", "2025-10-01"), 2, "exclude each other"),
        (("--to", "2025-10-01"), 2, "give from as well"),
        (("--objective", "luck=1"), 2, "use one of availability"),
        (("--objective", "uptime=high"), 2, "give a number"),
        (("--objective", "uptime=101%"), 2, "sla_uptime is 1.01"),
        (("--objective", "response_ms=201"), 2, "cannot tell: give"),
        (("--gap", "-1"), 2, "sla_gap_s is -1"),
        (("--host", "nobody"), 3, "no probe of nobody is on record: there are web-01"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    recorded: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, said: str
) -> None:
    done, out, err = asked(capsys, "sla", "--state-dir", str(recorded), *arguments)
    assert (done, out) == (status, "")
    assert err.startswith("runbook: ")
    assert err.count("\n") == 1
    assert said in err
    done, out, err = asked(capsys, "sla", "--state-dir", str(recorded), *arguments, "--json")
    assert (done, err) == (status, "")
    assert said in json.loads(out)["error"]


def test_unknown_timezone_moves_no_border(
    recorded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS_TIMEZONE", "Mars/Olympus")
    status, out, err = asked(capsys, "sla", *MONTH, "--state-dir", str(recorded))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "Mars/Olympus" in err


def nothing(path: Path) -> None:
    """No store at all."""


def empty(path: Path) -> None:
    open_history(path).close()


def corrupt(path: Path) -> None:
    (path / STORE).write_bytes(b"this is no database" * 100)


def newer(path: Path) -> None:
    open_history(path).close()
    with sqlite3.connect(path / STORE) as link:
        link.execute("UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (nothing, "nothing is on record"),
        (empty, "no probe is on record"),
        (corrupt, "the file is damaged"),
        (newer, "is newer than this version knows"),
    ],
)
def test_without_a_history_nothing_is_proven_and_nothing_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], made: Any, said: str
) -> None:
    made(tmp_path)
    status, out, err = asked(capsys, "sla", "--state-dir", str(tmp_path))
    assert (status, out, err.count("\n")) == (3, "", 1)
    assert said in err


@pytest.mark.parametrize(("age_s", "hold_s"), [(600.0, 300.0), (86400.0, 300.0)])
def test_one_sample_proves_nothing_but_its_own_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], age_s: float, hold_s: float
) -> None:
    one = samples.empty(1)
    one["at"], one["flags"] = time.time() - age_s, samples.INSIDE_SEEN
    with open_history(tmp_path) as store:
        stores.write_series(store, "web-01", one, "test")
    status, out, _ = asked(capsys, "sla", "--period", "7d", "--json", "--state-dir", str(tmp_path))
    found = json.loads(out)
    assert status in (1, 3)
    assert found["seconds"]["down"] == pytest.approx(hold_s)
    assert found["seconds"]["unknown"] == pytest.approx(7 * 86400 - hold_s, abs=5)
    assert found["slas"][0]["best"] < 1


def test_a_period_of_nothing_but_gaps_has_no_figure(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("sla", "--host", "web-01", "--state-dir", str(recorded), "--period", "2025-06")
    status, out, _ = asked(capsys, *where, "--json")
    found = json.loads(out)
    assert status == 3
    assert [one["value"] for one in found["slas"]] == [None] * 5
    assert {one["verdict"] for one in found["slas"]} <= {"no_data", "unproven"}
    shown = asked(capsys, *where)[1]
    assert "no data" in shown
    assert re.search(r"Uptime +≥ 99.9% +- +no data", shown)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.0, 1.0], "██"),
        ([0.99999, None, 0.99], "▇·▁"),
        ([0.5], "▁"),
        ([], ""),
        ([1.0] * 61 + [0.0], "█" * 30 + "▁"),
        ([None] * 62, "·" * 31),
    ],
)
def test_sparkline(values: list[float | None], shown: str) -> None:
    assert sla_table.sparkline(values, 0.99) == shown


def test_ascii_terminal_gets_ascii(recorded: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "orquestrador_ops.cli", "sla", "--host", "web-01", *MONTH, "--state-dir", str(recorded)],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert b"99.98" in done.stdout


def test_help_stays_quick_and_loads_nothing_dear() -> None:
    done = subprocess.run(children.command("show_help"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sla" in done.stdout
    assert "history" in done.stdout


def test_metrics_are_printed_or_written_whole(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("sla", "metrics", "--period", "2025-10", "--state-dir", str(recorded))
    status, out, _ = asked(capsys, *where)
    assert status == 0
    assert 'host="web-02",period="2025-10"' in out
    target = tmp_path / "orquestrador.prom"
    status, nothing_said, _ = asked(capsys, *where, "--output", str(target))
    assert (status, nothing_said) == (0, "")
    values = [line for line in out.splitlines() if "period=" in line and "timestamp" not in line]
    assert [line for line in target.read_text().splitlines() if line in values] == values
    assert list(tmp_path.iterdir()) == [target]
    _, out, _ = asked(capsys, *where, "--openmetrics")
    assert out.endswith("# EOF\n")


def test_export_names_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = asked(capsys, "sla", "export", str(tmp_path / "new"), "--objective", "uptime=99.5%", "--json")
    assert status == 0
    files = json.loads(out)["files"]
    assert files
    assert all(Path(one).is_file() for one in files)
    assert any(one.endswith(".json") for one in files)


def test_status_of_documents() -> None:
    def document(*verdicts: str) -> dict[str, Any]:
        return {"slas": [{"verdict": one} for one in verdicts]}

    assert service.status_of([document("met", "met")]) == 0
    assert service.status_of([document("met", "no_data")]) == 3
    assert service.status_of([document("unproven"), document("met", "missed")]) == 1
