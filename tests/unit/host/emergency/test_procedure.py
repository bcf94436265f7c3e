"""How a ladder is climbed: defects, budgets, what prepares and what decides; and what a guard makes of the rest."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orquestrador.core.messages import msg, plain
from orquestrador.core.types import Message
from orquestrador.emergency import procedure as emergency
from orquestrador.emergency.context import EmergencyError, Rung, Step
from orquestrador.emergency.procedure import _any_rung, _cut_short, _Result
from orquestrador.lease import lease_file, model
from orquestrador.system.identity import Owner

ME = Owner(pwd.getpwuid(os.geteuid()).pw_name)


class App:
    """An application that is well from the given rung on."""

    def __init__(self, scene: Scene, well_after: str) -> None:
        self._scene, self._well_after, self.counted = scene, well_after, 0

    def restarts(self) -> dict[str, int]:
        return {"0": self.counted}

    def well(self, timeout_s: float, *, stable_s: float) -> Message | None:
        return None if self._well_after in self._scene.acted else msg("still not well")


class Scene:
    """What climbing needs of a scene, with a clock of its own."""

    def __init__(self, *, well_after: str = "", left_s: float = 100.0) -> None:
        self.params: dict[str, Any] = {"procedure": "test", "stable_s": 0, "app_name": "app"}
        self.steps: dict[str, dict[str, Any]] = {"diagnosis": {"status": "ok"}}
        self.diagnosis = {"reasons": [msg("because")], "proposals": [msg("do this")], "level": None}
        self.snapshot: dict[str, Any] = {}
        self.verdict: dict[str, Any] = {}
        self.acted: list[str] = []
        self.left_s = left_s
        self.app = App(self, well_after)

    def left(self) -> float:
        return self.left_s

    def step(self, name: str, planned_s: float) -> Step:
        self.steps[name] = {"planned_s": planned_s, "status": "unknown"}
        return Step(self.steps[name], lambda: None)

    def rung(self, name: str, error: Exception | None = None, **options: Any) -> Rung:
        def act(_seconds: float) -> None:
            if error is not None:
                raise error
            self.acted.append(name)

        return Rung(name, options.pop("planned_s", 0.3), act, msg("would"), **options)


Build = Callable[[Scene], list[Rung]]


def climb(monkeypatch: pytest.MonkeyPatch, scene: Scene, build: Build) -> tuple[bool, dict[str, str], _Result]:
    monkeypatch.setitem(emergency.LADDERS, "test", emergency.Ladder(build))  # type: ignore[arg-type]
    result = _Result(scene)  # type: ignore[arg-type]
    well = _any_rung(scene, result)  # type: ignore[arg-type]
    return well, {name: step["status"] for name, step in scene.steps.items()}, result


REFUSED = EmergencyError(msg("no"))
CASES: dict[str, tuple[str, Build, bool, dict[str, str]]] = {
    "the first helps": ("a", lambda s: [s.rung("a"), s.rung("b")], True, {"a": "changed"}),
    "the second helps": ("b", lambda s: [s.rung("a"), s.rung("b")], True, {"a": "warn", "b": "changed"}),
    "one that can't": ("b", lambda s: [s.rung("a", REFUSED), s.rung("b")], True, {"a": "failed", "b": "changed"}),
    "a defect": ("b", lambda s: [s.rung("a", KeyError("secret")), s.rung("b")], True, {"a": "failed", "b": "changed"}),
    "decisive": ("b", lambda s: [s.rung("a", REFUSED, decisive=True), s.rung("b")], False, {"a": "failed"}),
    "prepares, and that was all": (
        "a",
        lambda s: [s.rung("a", proof=lambda: None, prepares=True), s.rung("b")],
        True,
        {"a": "changed"},
    ),
    "prepares": (
        "b",
        lambda s: [s.rung("a", proof=lambda: None, prepares=True), s.rung("b")],
        True,
        {"a": "changed", "b": "changed"},
    ),
    "partial": (
        "a",
        lambda s: [s.rung("a", proof=lambda: None, partial=True, passive=True), s.rung("b")],
        True,
        {"a": "ok", "b": "changed"},
    ),
    "nothing to try": ("", lambda s: [], False, {"diagnosis": "failed"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_ladder_is_climbed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    well_after, build, expected, statuses = CASES[name]
    scene = Scene(well_after=well_after or "never")
    well, found, result = climb(monkeypatch, scene, build)
    assert well is expected
    assert found == {"diagnosis": "ok", **statuses}
    assert "secret" not in str(scene.steps), "an exception's text may quote anything"
    assert result.over_budget is False


def test_a_rung_is_not_begun_without_time_to_prove_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(well_after="a", left_s=emergency.LEAST_S - 0.1)
    well, found, result = climb(monkeypatch, scene, lambda s: [s.rung("a")])
    assert (well, found, scene.acted) == (False, {"diagnosis": "ok"}, [])
    assert result.over_budget


def test_a_rung_that_got_less_than_planned_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(well_after="never", left_s=emergency.LEAST_S)
    climb(monkeypatch, scene, lambda s: [s.rung("a", planned_s=30), s.rung("b", planned_s=1)])
    said = [message["text"] for message in scene.steps["a"]["note"]]
    assert any("cut short" in text for text in said) is False, "it ended long before its end"
    slow = Scene(well_after="never", left_s=emergency.LEAST_S)
    climb(monkeypatch, slow, lambda s: [s.rung("a", planned_s=30, proof=lambda: msg("not yet"))])
    assert any("cut short" in message["text"] for message in slow.steps["a"]["note"])


def test_restarts_that_a_rung_caused_are_recorded_even_when_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(well_after="never")

    def act(_seconds: float) -> None:
        scene.app.counted += 2
        raise EmergencyError(msg("no"), {"seen": 1})

    climb(monkeypatch, scene, lambda s: [Rung("a", 0.2, act, msg("would"))])
    assert scene.steps["a"]["evidence"] == {"seen": 1, "planned_restarts": {"0": 2}, "app": "app"}


class Leased(Scene):
    """A scene that needs the lease of its host."""

    def __init__(self, path: Path, procedure: str) -> None:
        super().__init__(left_s=1.0)
        self.owner, self.changed_step = ME, lambda: None
        self.params |= {
            "procedure": procedure,
            "lease_path": str(path),
            "lease_run_id": "mine",
            "lease_owner": "me@here",
        }
        self.params |= {"lease_preempt": False}


def _foreign(path: Path) -> None:
    path.parent.chmod(0o700)
    path.mkdir()  # stands in for whatever can't be replaced
    (path / "x").touch()


def _locked(path: Path) -> None:
    holder = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(holder, fcntl.LOCK_EX)


def _held(path: Path) -> None:
    lease_file.acquire(str(path), model.request(run_id="theirs", owner="ana@there", procedure="backup", ttl_s=60))


@pytest.mark.parametrize("procedure", ["offline", "disk"])
@pytest.mark.parametrize(
    ("spoil", "outcome", "said"),
    [
        (_foreign, "failed", "cannot be used"),
        (_locked, "failed", "stays locked"),
        (_held, "refused", "held by run theirs"),
    ],
)
def test_only_a_holder_is_a_reason_to_stand_back(
    spoil: Callable[[Path], None], outcome: str, said: str, procedure: str, tmp_path: Path
) -> None:
    spoil(tmp_path / "lease.json")
    scene = Leased(tmp_path / "lease.json", procedure)
    result = emergency._leased(scene, _Result(scene))  # type: ignore[arg-type]
    assert result["outcome"] == outcome
    assert said in plain(result["failures"][0])
    assert (scene.steps["lease"]["status"], "evidence" in scene.steps) == ("failed", False)
    assert bool(scene.steps["lease"]["evidence"].get("holder")) is (outcome == "refused")


def test_a_disk_without_room_stands_back_for_a_holder_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lease.json"

    def full(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lease_file, "_replace", full)
    monkeypatch.setattr(lease_file, "LOCK_WAIT_S", 0.2)
    scene = Leased(path, "offline")
    result = emergency._leased(scene, _Result(scene))  # type: ignore[arg-type]
    assert (result["outcome"], "no space is left" in plain(result["failures"][0])) == ("failed", True)


def test_check_mode_says_so_when_the_lease_cannot_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "file" / "lease.json"
    path.parent.touch()  # a directory that is none
    scene = Leased(path, "offline")
    result = emergency._foretell(scene, _Result(scene))  # type: ignore[arg-type]
    assert result["outcome"] == "failed"
    assert "cannot be used" in plain(scene.steps["lease"]["note"])


@pytest.mark.parametrize(("overdue", "level"), [(True, "L3"), (False, None)])
def test_one_that_had_to_be_ended_is_told_whole(overdue: bool, level: str | None, tmp_path: Path) -> None:
    params = {
        "procedure": "offline",
        "lease_path": str(tmp_path / "lease.json"),
        "lease_run_id": "r",
        "evidence_keep": 3,
    }
    steps: dict[str, Any] = {
        "lease": {"status": "ok", "note": None},
        "evidence": {"status": "ok", "evidence": {"x": 1}},
        "restart": {"status": "unknown", "planned_s": 30},
    }
    partial = {"steps": steps, "diagnosis": {"alert": "offline", "level": None}, "failures": [], "changed": True}
    result = _cut_short(params, ME, partial, overdue=overdue)
    assert (result["outcome"], result["over_budget"]) == ("failed", overdue)
    assert result["steps"]["restart"]["status"] == "failed"
    assert result["steps"]["restart"]["note"] == result["failures"][0]
    assert result["diagnosis"]["level"] == level
    assert (tmp_path / "emergencies" / "r.json").exists()


@pytest.mark.parametrize(
    ("dump", "backup", "expected"),
    [
        ('[{"name": "app", "env": {}}]', None, True),
        ('[{"name": "other"}]', '[{"name": "app"}]', False),
        ("[]", '[{"name": "app"}]', False),
        (None, '[{"name": "app"}]', True),
        ("half a fi", '[{"name": "app"}]', True),
        (None, None, False),
        ('{"name": "app"}', None, False),
        ("[3, null]", None, False),
    ],
)
def test_what_pm2_would_start_is_read_as_pm2_does(
    dump: str | None, backup: str | None, expected: bool, tmp_path: Path
) -> None:
    for name, text in (("dump.pm2", dump), ("dump.pm2.bak", backup)):
        if text is not None:
            (tmp_path / name).write_text(text)
    scene: Any = SimpleNamespace(params={"pm2_home": str(tmp_path), "app_name": "app"}, owner=ME)
    assert emergency.Scene.saved(scene) is expected
