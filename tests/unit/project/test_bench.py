"""The benchmarks: what is run, what is said when there is no figure, and what is kept with the figures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tools.bench import __main__ as bench
from tools.bench import common, daily, lab
from tools.bench.common import CannotMeasureError

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., int]


class FakeLab:
    """Remembers what was done to it, in order."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def reset(self, work: Path) -> None:
        self.seen.append("reset")
        assert list(work.iterdir()) == [] or work.name.startswith("orquestrador-bench-"), "not a directory of its own"

    def database(self) -> str:
        return "MySQL 9.7.4-2"


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def latest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "bench" / "latest.json"
    monkeypatch.setattr(common, "LATEST", path)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, latest: Path, seen: list[str]) -> Run:
    """``make bench`` with three benchmarks that measure nothing, two of them on a lab that is none."""

    def well(_lab: FakeLab, work: Path, _runs: int) -> dict[str, float]:
        seen.append("well")
        (work / "state").mkdir()
        return {"well_s": 1.5}

    def sick(_lab: FakeLab, work: Path, _runs: int) -> dict[str, float]:
        seen.append("sick")
        script = "import sys; print('\\n'.join(f'line {n}' for n in range(60)), flush=True); sys.exit('disk full')"
        return {"sick_s": common.timed([sys.executable, "-c", script], {}, work / "log")}

    def broken(_work: Path, _runs: int) -> dict[str, float]:
        seen.append("broken")
        return {"broken_s": {}["nothing"]}  # type: ignore[dict-item]

    monkeypatch.setattr(bench, "BENCHMARKS", {"well": ("Well", well), "sick": ("Sick", sick)})
    monkeypatch.setattr(bench, "WITHOUT_LAB", {"broken": ("Broken", broken)})
    monkeypatch.setattr(bench, "KNOWN", ["broken", "well", "sick"])
    monkeypatch.setattr(bench, "LATEST", bench.ROOT / "var" / "bench" / "latest.json")
    monkeypatch.setattr(bench, "calibrate", lambda: 0.25)
    monkeypatch.setattr(bench, "ready", lambda: FakeLab(seen))

    def main(*names: str) -> int:
        monkeypatch.setattr(sys, "argv", ["bench", *names])
        return bench.main()

    return main


def test_make_hands_on_which_benchmarks() -> None:
    done = subprocess.run(
        ["make", "-n", "bench", "BENCH=daily fleet"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.rstrip().endswith("python -m tools.bench daily fleet")


def test_unknown_name_is_told_in_one_line(run: Run, seen: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("well", "wel") == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "no benchmark 'wel': there are broken well sick"
    assert seen == []


def test_every_benchmark_begins_from_the_known_state(run: Run, seen: list[str], latest: Path) -> None:
    assert run("well", "well") == 0
    # And the lab is left in it.
    assert seen == ["reset", "well", "reset", "well", "reset"]
    assert json.loads(latest.read_text())["well_s"]["value"] == 1.5


def test_benchmark_that_fails_says_why_and_ends_no_other(
    run: Run, seen: list[str], latest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 1
    assert [name for name in seen if name != "reset"] == ["broken", "well", "sick"]
    assert run("sick", "broken", "well") == 1
    assert [name for name in seen if name != "reset"][3:] == ["sick", "broken", "well"]
    said = capsys.readouterr().out
    assert "disk full" in said
    assert "line 59" in said
    assert "line 2\n" not in said
    assert "KeyError: 'nothing'" in said
    assert said.rstrip().endswith("not measured, for the reasons above: sick broken")
    assert set(json.loads(latest.read_text())) == {"calibration_s", "well_s"}


def test_without_a_lab_the_others_are_measured(
    run: Run, seen: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> FakeLab:
        raise CannotMeasureError("no podman")

    monkeypatch.setattr(bench, "ready", none)
    assert run() == 1
    assert seen == ["broken"]
    said = capsys.readouterr().out
    assert "no podman" in said
    assert said.rstrip().endswith("broken well sick")


def test_figures_say_where_they_are_from(run: Run, latest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("well") == 0
    kept = json.loads(latest.read_text())
    assert kept["calibration_s"]["value"] == kept["well_s"]["machine"]["calibration_s"] == 0.25
    assert kept["well_s"]["database"] == "MySQL 9.7.4-2"
    said = capsys.readouterr().out
    assert said.startswith("calibration_s 0.250")
    assert "MySQL 9.7.4-2" in said


def test_calibration_is_the_same_piece_everywhere() -> None:
    """Another piece would make figures incomparable with those that are kept."""
    assert common.CALIBRATION_STEPS == 3_200_000
    assert common.calibration_work(1000) == 2092890


@pytest.mark.parametrize(
    ("version", "wanted"),
    [("9.7.4-2\n", "MySQL 9.7.4-2"), ("11.8.3-MariaDB-1 from Debian", "MariaDB 11.8.3-MariaDB-1 from Debian")],
)
def test_product_of_a_server(version: str, wanted: str) -> None:
    assert lab.product(version) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"), [("", (1, 10, 50, 100)), ("50", (50,)), ("50 1", (1, 50)), ("50 50", (50,))]
)
def test_sizes_of_fleets(text: str, wanted: tuple[int, ...]) -> None:
    assert daily.fleet_sizes({"FLEET": text}) == wanted


@pytest.mark.parametrize("text", ["many", "0", "-5", "1,5"])
def test_size_that_is_none_is_told_in_one_line(
    text: str, run: Run, seen: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLEET", text)
    assert run("well") == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert repr(text) in line
    assert seen == []


def left(state: Path, host: str, outcome: str, bad: tuple[str, ...] = (), *, observed: bool = True) -> None:
    """A report as the daily routine leaves it, and the link to the latest one."""
    checks = [{"id": name, "status": "warn"} for name in bad] + [{"id": "port.open", "status": "ok"}]
    report = {
        "record": {"outcome": outcome, "steps": [{"id": "critical_files", "status": "ok"}]},
        "verdict": {"checks": checks} if observed else None,
    }
    folder = state / "reports" / host
    folder.mkdir(parents=True)
    path = folder / "daily-20260101T000000Z-abcdef.json"
    path.write_text(json.dumps(report))
    (folder / "latest-daily.json").symlink_to(path.name)


def test_routines_that_were_not_met_are_counted_with_their_reasons(tmp_path: Path) -> None:
    left(tmp_path, "one", "met")
    left(tmp_path, "two", "not_met", ("http.latency", "cpu.app"))
    left(tmp_path, "three", "not_met", ("http.latency", "cpu.app"))
    left(tmp_path, "four", "unreachable", observed=False)
    found = daily.not_met(tmp_path, 4, tmp_path / "log")
    assert found == {"not_met: http.latency, cpu.app": 2, "unreachable": 1}
    assert daily.shown(found) == "2 not_met: http.latency, cpu.app; 1 unreachable"


def test_routines_without_a_report_were_not_measured(tmp_path: Path) -> None:
    left(tmp_path, "one", "met")
    (tmp_path / "log").write_text("the connection broke\n")
    with pytest.raises(CannotMeasureError, match=r"1 of 2 .*\nthe connection broke"):
        daily.not_met(tmp_path, 2, tmp_path / "log")


def test_routines_that_saw_no_host_were_not_measured(tmp_path: Path) -> None:
    left(tmp_path, "one", "unreachable", observed=False)
    (tmp_path / "log").write_text("Connection refused\n")
    with pytest.raises(CannotMeasureError, match="Connection refused"):
        daily.not_met(tmp_path, 1, tmp_path / "log")


def test_command_that_fails_gives_its_last_words() -> None:
    with pytest.raises(CannotMeasureError, match=r"(?s)status 3: probe\nout\nwhy"):
        common.captured(["sh", "-c", "echo out; echo why >&2; exit 3"], what="probe")
    with pytest.raises(CannotMeasureError, match=r"(?s)not within 0.* s: probe\nbegun"):
        common.captured(["sh", "-c", "echo begun; exec sleep 20"], limit_s=0.5, what="probe")


def test_inventory_of_another_lab_is_the_standard_one_elsewhere(tmp_path: Path) -> None:
    settings = SimpleNamespace(
        name="orquestrador-test-x",
        state=tmp_path,
        ssh_port=2299,
        app_port=3099,
        key=tmp_path / "key",
        known_hosts=tmp_path / "known",
    )
    written: dict[str, Any] = yaml.safe_load(lab.written_inventory(settings).read_text())
    standard = yaml.safe_load((ROOT / "inventory/lab/hosts.yml").read_text())
    (wanted,) = standard["orquestrador"]["hosts"].values()
    found = written["orquestrador"]["hosts"]["orquestrador-test-x"]
    group = yaml.safe_load((ROOT / "inventory/lab/group_vars/orquestrador/main.yml").read_text())
    assert found["ansible_port"] == 2299
    assert found["ansible_ssh_private_key_file"] == str(tmp_path / "key")
    assert str(tmp_path / "known") in found["ansible_ssh_common_args"]
    # Without it the watch asks the standard lab's port from outside.
    assert found["app_public_url"] == "http://127.0.0.1:3099/api/health"
    assert set(found) == set(wanted) | set(group) | {"app_public_url"}
    assert found["ansible_user"] == wanted["ansible_user"]


def test_fleet_on_a_busy_machine_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands end with the statuses of Ansible for a host that failed and for one that could not be reached."""

    def timed(argv: list[str], env: dict[str, str], log: Path, *, accept: tuple[int, ...]) -> float:
        fleet = "playbooks/routine/daily.yml" in argv
        assert (2 if fleet else 4) in accept
        log.write_text("lab-000 : ok=0 changed=0 unreachable=1 failed=0\n")
        if fleet:
            left(Path(env["OPS_STATE_DIR"]), "lab-000", "not_met", ("cpu.app",))
            left(Path(env["OPS_STATE_DIR"]), "lab-001", "met")
        return 3.0

    there = SimpleNamespace(inventory=tmp_path / "hosts.yml", variables={"ansible_port": 1}, key="key", common=[])
    monkeypatch.setattr(daily, "timed", timed)
    monkeypatch.setenv("FLEET", "2")
    figures = daily.bench_fleet(there, tmp_path, 1)
    assert figures == {"daily_s_per_host_2": 1.5, "daily_not_met_2": 1.0}
    said = capsys.readouterr().out
    assert "2 names: 3.00 s, routines not met: 1 not_met: cpu.app" in said
    assert "1 unreachable" in said
