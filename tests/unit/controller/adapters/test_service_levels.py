"""What a task that evaluates service levels returns, from samples by hand and from a history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orquestrador_ops.adapters import service_levels
from orquestrador_ops.core.i18n import translator
from orquestrador_ops.core.settings import Settings
from orquestrador_ops.history.access import open_history
from orquestrador_ops.sla.evaluate.objectives import Objectives

ASKED = {"period": "2026-01-05", "from": None, "to": None, "samples": None, "report": True, "report_every_s": 0}
SAMPLES = [
    {"at": f"2026-01-05T{hour:02}:{minute:02}:00Z", "ok": hour != 12} for hour in range(24) for minute in range(60)
]


def evaluate(state_dir: Path, *, check_mode: bool = False, **asked: Any) -> dict[str, Any]:
    kept = Settings(state_dir, None, "en", "UTC")
    return service_levels.evaluate(
        {**ASKED, **asked}, Objectives(), kept, translator("en", "UTC"), "web-01", check_mode
    )


def test_samples_by_hand_need_no_history(tmp_path: Path) -> None:
    found = evaluate(tmp_path / "state", samples=SAMPLES)
    assert (found["verdict"], found["met"], found["changed"], found["reports"]) == ("missed", False, False, {})
    assert found["missed"].startswith("Uptime")
    assert found["lines"][0] == "Service levels of web-01 (2026-01-05)"
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("there", [False, True])
def test_where_nothing_is_known_nothing_is_claimed(tmp_path: Path, there: bool) -> None:
    if there:
        open_history(tmp_path).close()
    found = evaluate(tmp_path, check_mode=True)
    assert (found["verdict"], found["met"], found["missed"], found["reports"]) == ("no_data", None, "", {})
    assert bool(list(tmp_path.iterdir())) is there  # no report in check mode


@pytest.mark.parametrize(
    "asked",
    [
        {"period": "2999"},
        {"period": "\x1b"},
        {"samples": [{"at": "noon", "ok": True}]},
        {"from": "soon", "period": None},
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as raised:
        evaluate(tmp_path, **asked)
    assert "\n" not in str(raised.value)
