"""What the log says of a failure counts only when it was said in this life of the application."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orquestrador.emergency.clues import host as emergency_clues

NOW = 1_790_000_000.0


def seen(directory: Path, started: float | None) -> dict[str, Any]:
    at = None if started is None else datetime.fromtimestamp(started, UTC).isoformat()
    process = {"name": "app", "err_log": str(directory / "error.log"), "started_at": at}
    return {"pm2": {"app": {"name": "app", "pids": []}, "processes": [process]}}


@pytest.mark.parametrize(
    ("started_after_s", "counts"),
    [(-100.0, True), (0.2, True), (15.0, True), (60.0, False), (None, True)],
)
def test_an_error_of_an_earlier_life_explains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_after_s: float | None, counts: bool
) -> None:
    log = tmp_path / "error.log"
    log.write_text("2026-11-22 10:00:00 +00:00: SyntaxError: Unexpected token ';'\n")
    os.utime(log, (NOW, NOW))
    monkeypatch.setattr(emergency_clues.time, "time", lambda: NOW + 70)
    started = None if started_after_s is None else NOW + started_after_s
    clues = emergency_clues.collect({"app_dir": str(tmp_path), "app_name": "app"}, seen(tmp_path, started))
    assert bool(clues["last_error"]) is counts
    assert clues["error_tail"], "it stays evidence"
