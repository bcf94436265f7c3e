"""The draft of a postmortem, written from the record when an incident is over; a person finishes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg
from orquestrador.core.redact import scrub_text

from ..core.files import private_dir, safe_name, write_atomic
from ..core.i18n import Translator, epoch
from ..core.text import clean
from ..reports import writer as report
from . import store as incidents
from .message import ALERTS, SEVERITIES

if TYPE_CHECKING:
    from ..core.settings import Settings
    from ..history.store import History

MAX_SAMPLES = 100_000
# How far before its detection the last good probe is looked for.
BEFORE_S = 86400.0
_OUTCOMES: Mapping[str, Any] = {
    "sent": msg("told"),
    "failed": msg("failed"),
    "sending": msg("not known"),
}


def path_of(incident: Mapping[str, Any], state_dir: Path) -> Path:
    """Where the draft of an incident lies."""
    return state_dir / "reports" / safe_name(str(incident["host"])) / f"postmortem-{int(incident['id'])}.md"


def write(store: History, incident: Mapping[str, Any], kept: Settings, tr: Translator) -> str:
    """Write the draft, private and whole, and return its path. Raises ``OSError``."""
    path = path_of(incident, kept.state_dir)
    private_dir(path.parent)
    write_atomic(path, draft(store, incident, tr).encode("utf-8", "replace"))
    return str(path)


def draft(store: History, incident: Mapping[str, Any], tr: Translator) -> str:
    """The draft as Markdown, from the incident, the probes and the messages of its time."""
    start, end = epoch(incident["opened_at"]) or 0.0, epoch(incident["closed_at"])
    known = store.samples(str(incident["host"]), since=start - BEFORE_S, until=end, limit=MAX_SAMPLES)
    during = [one for one in known if one["at"] >= start]
    good = [one["at"] for one in known if one["ok"] and one["at"] < start]
    # Looks of the procedures that are no samples: the first of each, and the one that proved the recovery, whose run is
    # not concluded yet.
    found_bad = int((incident.get("data") or {}).get("found_bad") or 0)
    view = {
        **_facts(incident, tr, end),
        "probes": {
            "total": len(during) + found_bad + (end is not None),
            "bad": sum(not one["ok"] for one in during) + found_bad,
            "last_good": tr.time(max(good)) if good else "",
        },
        "told": [
            {
                "at": tr.time(one["at"]),
                "level": one["level"],
                "channel": one["channel"],
                "outcome": tr.message(_OUTCOMES.get(one["outcome"], one["outcome"])),
            }
            for one in incidents.told(store, int(incident["id"]))
        ],
    }
    return report.page("postmortem.md.j2", tr).render(view=view)


def _facts(incident: Mapping[str, Any], tr: Translator, end: float | None) -> dict[str, Any]:
    data = incident.get("data") or {}

    def words(messages: Any) -> list[str]:
        return [clean(scrub_text(tr.message(one))) for one in messages or []]

    alert = tr.message(ALERTS.get(incident["alert"], incident["alert"]))
    return {
        "title": tr.t(
            "Postmortem of incident {number}: {alert} on {host}",
            number=incident["id"],
            alert=alert,
            host=incident["host"],
        ),
        "severity": tr.message(SEVERITIES.get(incident["severity"], incident["severity"])),
        "scenario": data.get("scenario") or "",
        "zone": tr.zone_name(),
        "opened": tr.time(incident["opened_at"]),
        "closed": tr.time(incident["closed_at"]) if end is not None else "",
        "lasted": tr.seconds(incidents.lasted_s(incident, end)) if end is not None else "",
        "level": incident.get("level") or "",
        "acknowledged": incident.get("acknowledged_by") or "",
        "acknowledged_at": tr.time(incident["acknowledged_at"]) if incident.get("acknowledged_at") else "",
        "reasons": words(data.get("reasons")),
        "tried": words(data.get("tried")),
        "proposals": words(data.get("proposals")),
        "timeline": [
            {"at": tr.time(one.get("at")), "what": clean(scrub_text(tr.message(one.get("what"))))}
            for one in data.get("timeline") or []
        ],
        "run": incident.get("run_id") or "",
    }
