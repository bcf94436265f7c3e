"""What the controller's half of an emergency procedure works out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from orquestrador.core.messages import msg
from orquestrador.core.types import FAILED, OK, Message
from orquestrador.emergency.arguments import ARGUMENT_SPEC, REQUIRED_IF, unusable

from ..core.settings import Settings
from ..runs.lifecycle import utc_now
from . import probe as observation

# Of the budget, for the second look from outside, the record and the message to whoever has to know.
RESERVE_S = 10.0
LEAST_S = 5.0
# How far back memory is followed, and how many samples of it a host is handed.
MEMORY_DAYS, MEMORY_SAMPLES = 7, 500


def left_of(run: Mapping[str, Any]) -> float:
    """Seconds of a run's budget that its host may use from now; never less than a few, never negative."""
    deadline = datetime.fromisoformat(str(run["deadline"]))
    left = (deadline - utc_now()).total_seconds() - RESERVE_S
    return round(max(left, LEAST_S), 1)


def parameters(arguments: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Arguments of the module ``emergency`` checked and completed as it does itself: ``(params, problem)``.

    ``params`` hold the probe's arguments as well; ``problem`` is one line, ``None`` when they can be used.
    """
    given = dict(arguments)
    probe, problem = observation.parameters(given.pop("probe"))
    own = {name: option for name, option in ARGUMENT_SPEC.items() if name != "probe"}
    checked = ArgumentSpecValidator(observation.as_text(own), required_if=REQUIRED_IF).validate(
        json.loads(json.dumps(given))
    )
    if checked.error_messages:
        return {}, observation.first_line(checked.error_messages[0])
    params: dict[str, Any] = checked.validated_parameters
    return {**probe, **params}, problem or unusable(params)


def memory_samples(kept: Settings, host: str) -> list[dict[str, float]]:
    """What the history knows of the memory of a host's application, oldest first: ``{at, memory_bytes}``.

    :raises OSError: the history can't be asked.
    """
    from ..history import access

    since = utc_now().timestamp() - MEMORY_DAYS * 86400
    with access.open_history(kept.state_dir, kept.history_url) as store:
        rows = store.samples(host, since=since)
    known = [{"at": row["at"], "memory_bytes": row["memory_bytes"]} for row in rows if row["memory_bytes"]]
    return known[-MEMORY_SAMPLES:]


def explained(answer: dict[str, Any], host: str) -> dict[str, Any]:
    """What a host answered, with why it could not where it gave no answer."""
    if "module_stderr" not in answer:
        return answer
    return {**answer, "failures": [observation.why_not(answer, host, str(answer["msg"]))]}


def triaged(result: Mapping[str, Any], *, host: str, started: str) -> dict[str, Any]:
    """What a triage came to, in the shape of a probe, with which procedure it is.

    Adds ``diagnosis`` and ``recover`` (``{procedure, budget_s}``, ``None`` when nothing has to be recovered), and the
    step's own ``status``, ``note`` and ``evidence``.
    """
    from ..procedures import catalog

    before = result.get("before")
    seen = dict(result)
    if isinstance(before, Mapping):
        seen.update(snapshot=before.get("snapshot"), verdict=before.get("verdict"), memory=None)
        seen.pop("outcome", None)
    probe = observation.settle(seen, host=host, started=started)
    if probe.get("failed"):
        return probe
    kept = ("changed", "snapshot", "verdict", "memory", "failure", "unreachable_by", "started_at", "ended_at")
    found = {name: probe[name] for name in kept if name in probe}
    if probe.get("snapshot") is None:
        # An application that nobody can reach is offline for whoever has to know, whatever is behind it.
        called = {"procedure": "offline", "budget_s": catalog.EMERGENCIES["offline"].budget_s}
        return {
            **found,
            "outcome": probe["outcome"],
            "recover": called,
            "diagnosis": None,
            "status": FAILED,
            "note": probe["failure"],
            "evidence": {"unreachable_by": probe.get("unreachable_by")},
        }
    case = dict(result["diagnosis"])
    plan = catalog.EMERGENCIES.get(str(case["alert"]))
    evidence = {name: case.get(name) for name in ("alert", "scenario", "severity", "level")}
    if plan is None:
        note: Any = [msg("No emergency: nothing calls for a procedure"), *case["reasons"]]
        return {**found, "recover": None, "diagnosis": case, "status": OK, "note": note, "evidence": evidence}
    note = [*case["reasons"], *case["proposals"], _command(plan.name, host)]
    called = {"procedure": plan.name, "budget_s": plan.budget_s}
    return {**found, "recover": called, "diagnosis": case, "status": FAILED, "note": note, "evidence": evidence}


def _command(procedure: str, host: str) -> Message:
    return msg(
        "Run: ansible-playbook playbooks/emergency/{procedure}.yml -e target={host}", procedure=procedure, host=host
    )
