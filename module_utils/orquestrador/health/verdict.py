"""How a snapshot compares with what the playbook expects, and which procedure that calls for.

Pure: no clock, no files, no network. Every figure is an expectation with a default from the operational playbook, and
a collector that saw nothing makes its checks ``unknown`` instead of good or bad.
"""

from __future__ import annotations

from typing import Any, Optional

from ..core.messages import msg
from ..core.types import CRITICAL, DEGRADED, HEALTHY, UNKNOWN, WARN, Memory, Message, Snapshot, Verdict
from ..procedures import EMERGENCIES
from .checks import CHECK_IDS, CHECKS
from .checks.pm2 import instances_of, restarts_by_id
from .checks.view import View, as_dict, as_list
from .expectations import limits_of, number


def evaluate(snapshot: Snapshot, expectations: dict[str, Any], memory: Optional[Memory]) -> Verdict:
    """All checks, in order, what they add up to, and the procedure they call for.

    ``memory`` is what :func:`remember` left after the last run of the same procedure; ``None`` on the first.

    :raises TypeError: from :func:`limits_of` only; a snapshot never raises.
    """
    view = View(snapshot, limits_of(expectations), memory)
    checks = [check.run(view) for check in CHECKS]
    statuses = {check["id"]: check["status"] for check in checks}
    seen = set(statuses.values())
    if CRITICAL in seen:
        overall = CRITICAL
    elif UNKNOWN in seen:
        overall = UNKNOWN
    else:
        overall = DEGRADED if WARN in seen else HEALTHY
    procedure, reasons = _procedure(statuses)
    return {"overall": overall, "checks": checks, "procedure": procedure, "reasons": reasons}


def remember(snapshot: Snapshot, log_memory: dict[str, Any], previous: Optional[Memory] = None) -> Memory:
    """What the next run of the same procedure needs.

    When PM2 could not be seen now, the restart counts of ``previous`` are kept: otherwise the next run would take
    every restart ever counted for a new one.
    """
    whole = as_dict(snapshot)
    memory: Memory = {"taken_at": str(whole.get("taken_at") or ""), "logs": log_memory}
    pm2 = as_dict(whole.get("pm2"))
    app = as_dict(pm2.get("app"))
    count = number(app.get("restarts"))
    if count is not None:
        processes = instances_of(pm2)
        started = sorted(str(p["started_at"]) for p in processes if isinstance(p.get("started_at"), str))
        memory["restarts"] = {
            "count": int(count),
            "pids": [int(p) for p in as_list(app.get("pids")) if number(p) is not None],
            "started_at": started[-1] if started else None,
            "by_id": restarts_by_id(processes),
        }
    else:
        kept = as_dict(as_dict(previous).get("restarts"))
        if kept:
            memory["restarts"] = kept
    return memory


def _procedure(statuses: dict[str, str]) -> tuple[str, list[Message]]:
    for name, emergency in EMERGENCIES.items():
        causes = [check_id for check_id in emergency.checks if statuses.get(check_id) == CRITICAL]
        if not causes:
            continue
        reasons = [msg("Check {check} is critical", check=check_id) for check_id in causes]
        covered = set(emergency.checks)
        symptoms = [i for i in CHECK_IDS if statuses.get(i) == CRITICAL and i not in covered]
        if symptoms:
            reasons.append(
                msg("Root cause before symptom: {checks} may follow from it", checks=", ".join(symptoms)),
            )
        return name, reasons
    reasons = []
    for status, reason in (
        (CRITICAL, msg("Check {check} is critical, no procedure of the playbook treats it")),
        (UNKNOWN, msg("Check {check} could not be observed")),
        (WARN, msg("Check {check} needs attention")),
    ):
        found = [check_id for check_id in CHECK_IDS if statuses.get(check_id) == status]
        reasons.extend({"text": reason["text"], "args": {"check": check_id}} for check_id in found)
    return "none", reasons
