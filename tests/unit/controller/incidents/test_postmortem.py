"""The draft of a postmortem: private, in words, and with nothing that an incident says taken for markup."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from orquestrador.core.messages import msg
from orquestrador_ops.core.i18n import translator
from orquestrador_ops.core.settings import Settings
from orquestrador_ops.history.store import History
from orquestrador_ops.incidents import postmortem
from orquestrador_ops.incidents import store as incidents
from tests.unit.fakes.records import record_sample

NOW = 1_780_000_000.0
TR = translator("en", "UTC")


def over(store: History, host: str = "web-01", **facts: Any) -> incidents.Incident:
    entries = [incidents.entry(msg("Detected"), NOW)]
    told = {"scenario": "stopped", "reasons": [msg("The port is closed")], "found_bad": 1, **facts}
    found, _ = incidents.report(
        store, host=host, alert="offline", severity="critical", at=NOW, facts=told, entries=entries
    )
    return incidents.close(store, int(found["id"]), at=NOW + 90)


def test_it_says_how_long_it_lasted_and_what_probes_saw(store: History) -> None:
    answers = [{"id": one, "status": "ok"} for one in ("http.status", "app.status", "app.database")]
    for at, checks in ((-60, answers), (30, []), (60, [])):
        record_sample(store, "web-01", {"taken_at": NOW + at}, {"checks": checks}, "watch")
    text = postmortem.draft(store, over(store), TR)
    assert text.startswith("# Postmortem of incident 1: ")
    for word in ("The port is closed", "1 min 30 s", "3 / 4", TR.time(NOW - 60), "Detected"):
        assert word in text


def test_it_is_written_for_its_owner_only_and_below_its_state_directory(store: History, tmp_path: Path) -> None:
    kept = Settings(tmp_path / "state", None, "en", "UTC")
    path = Path(postmortem.write(store, over(store, host="../../web\n01"), kept, TR))
    assert path.resolve().is_relative_to(tmp_path / "state" / "reports")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.name == "postmortem-1.md"


def test_secrets_and_control_characters_do_not_get_into_it(store: History) -> None:
    hostile = msg("{error}", error="mysql://app:hunter2secret@db \x1b[31mred")
    text = postmortem.draft(store, over(store, reasons=[hostile], tried=[hostile], proposals=None), TR)
    assert "hunter2secret" not in text
    assert "\x1b" not in text
    assert "red" in text
