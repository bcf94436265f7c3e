"""Errors of several days, wherever their lines lie by now."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orquestrador.logs import archive as log_archive
from orquestrador.logs import period as log_period
from orquestrador.logs import selection

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
DAY = 86400


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "webapp" / "logs"
    folder.mkdir(parents=True)
    return folder


def line(days_ago: float, text: str) -> str:
    return datetime.fromtimestamp(NOW - days_ago * DAY, UTC).strftime(f"%Y-%m-%d %H:%M:%S +00:00: {text}\n")


def put(path: Path, *lines: str, days_ago: float = 0) -> None:
    path.write_text("".join(lines))
    os.utime(path, (NOW - days_ago * DAY,) * 2)


def archived(logs: Path, days_ago: float) -> str:
    result = log_archive.archive(
        selection.Options(
            archive_dir=str(logs / "archive"),
            base=str(logs.parent),
            globs=[str(logs / "*.log")],
            watched=[str(logs / "error*.log"), str(logs / ".error*.log.*")],
            app_name="app",
            pm2_home=str(logs.parent / "none"),
        ),
        now=NOW - days_ago * DAY,
    )
    assert result["failures"] == []
    os.utime(result["archive"], (NOW - days_ago * DAY,) * 2)
    return str(result["archive"])


def count(logs: Path, **options: Any) -> dict[str, Any]:
    globs = [str(logs / "error*.log"), str(logs / ".error*.log.*")]
    return log_period.count(log_period.Options(globs, str(logs / "archive"), **options), NOW)


def test_lines_are_counted_once_wherever_they_are(logs: Path) -> None:
    put(logs / "error.log", line(9, "Error: too old"), line(6, "Error: a"), line(5, "Error: b"), days_ago=5)
    put(logs / "out.log", line(6, "Error: of another log"), days_ago=5)
    archived(logs, 5)
    put(logs / "error.log", line(0.1, "Error: c"), days_ago=0.1)
    archived(logs, 0.1)
    assert list(logs.glob(".error.log.*.kept"))
    put(logs / "error.log", line(0.01, "Error: a"))
    found = count(logs)
    assert (found["errors"], found["complete"], found["archives"]) == (4, True, 2)
    assert {event["sample"]: event["count"] for event in found["events"]} == {
        "Error: a": 2,
        "Error: b": 1,
        "Error: c": 1,
    }
    assert count(logs, days=1)["errors"] == 2


def test_old_archives_are_not_opened(logs: Path) -> None:
    put(logs / "error.log", line(20, "Error: a"), days_ago=20)
    path = Path(archived(logs, 20))
    path.write_bytes(b"damaged")
    os.utime(path, (NOW - 20 * DAY,) * 2)
    put(logs / "error.log", line(1, "Error: b"))
    assert count(logs)["errors"] == 1


def test_a_damaged_archive_makes_the_count_the_least_it_was(logs: Path) -> None:
    put(logs / "error.log", line(2, "Error: a"), days_ago=2)
    path = Path(archived(logs, 2))
    path.write_bytes(path.read_bytes()[:-40])
    os.utime(path, (NOW, NOW))
    put(logs / "error.log", line(1, "Error: b"))
    found = count(logs)
    assert found["complete"] is False
    assert found["errors"] >= 1
    assert str(path) in str(found["findings"])


def test_more_than_may_be_read_is_said(logs: Path) -> None:
    put(logs / "error.log", *[line(2, "Error: a")] * 100, days_ago=2)
    archived(logs, 2)
    put(logs / "error.log", line(1, "Error: b"))
    found = count(logs, max_bytes=500)
    assert found["complete"] is False


def test_nothing_is_left_behind(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr("tempfile.tempdir", None)
    put(logs / "error.log", line(2, "Error: a"), days_ago=2)
    archived(logs, 2)
    count(logs)
    assert list(place.iterdir()) == []


def test_without_any_log_nothing_was_counted(logs: Path) -> None:
    found = count(logs)
    assert (found["errors"], found["complete"]) == (0, False)
