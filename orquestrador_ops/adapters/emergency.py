"""Controller side of an emergency: budget, arguments, memory samples and results."""

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
from . import probe as probe_adapter

# Part of the budget for the probe after the recovery, the record and the notification.
RESERVE_S = 10.0
MIN_BUDGET_S = 5.0
# How far back memory use is read, and how many samples a host gets.
MEMORY_DAYS, MEMORY_SAMPLES = 7, 500


def remaining_budget_s(run: Mapping[str, Any]) -> float:
    """Return the seconds of a run's budget that remain for its host, at least ``MIN_BUDGET_S``."""
    deadline = datetime.fromisoformat(str(run["deadline"]))
    left = (deadline - utc_now()).total_seconds() - RESERVE_S
    return round(max(left, MIN_BUDGET_S), 1)


def parameters(arguments: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Validate the arguments of the module ``emergency`` as it does itself; return ``(params, problem)``.

    ``params`` hold the probe's arguments as well; ``problem`` is one line, ``None`` when they can be used.
    """
    options = dict(arguments)
    probe, problem = probe_adapter.parameters(options.pop("probe"))
    own = {name: option for name, option in ARGUMENT_SPEC.items() if name != "probe"}
    checked = ArgumentSpecValidator(probe_adapter.with_plain_paths(own), required_if=REQUIRED_IF).validate(
        json.loads(json.dumps(options))
    )
    if checked.error_messages:
        return {}, probe_adapter.first_line(checked.error_messages[0])
    params: dict[str, Any] = checked.validated_parameters
    return {**probe, **params}, problem or unusable(params)


def memory_samples(settings: Settings, host: str) -> list[dict[str, float]]:
    """Return samples of the application's memory from the history, oldest first: ``{at, memory_bytes}``.

    :raises OSError: the history can't be read.
    """
    from ..history import access

    since = utc_now().timestamp() - MEMORY_DAYS * 86400
    with access.open_history(settings.state_dir, settings.history_url) as store:
        rows = store.samples(host, since=since)
    samples = [{"at": row["at"], "memory_bytes": row["memory_bytes"]} for row in rows if row["memory_bytes"]]
    return samples[-MEMORY_SAMPLES:]


def add_failures(answer: dict[str, Any], host: str) -> dict[str, Any]:
    """Return the host's result; with ``failures`` when it gave none."""
    if "module_stderr" not in answer:
        return answer
    return {**answer, "failures": [probe_adapter.explain_failure(answer, host, str(answer["msg"]))]}


def triage_result(emergency: Mapping[str, Any], *, host: str, started: str) -> dict[str, Any]:
    """Return the result of a triage in the shape of a probe, with the procedure it calls for.

    Adds ``diagnosis`` and ``recover`` (``{procedure, budget_s}``, ``None`` when nothing has to be recovered), and the
    step's own ``status``, ``note`` and ``evidence``.
    """
    from ..procedures import catalog

    before = emergency.get("before")
    probed = dict(emergency)
    if isinstance(before, Mapping):
        probed.update(snapshot=before.get("snapshot"), verdict=before.get("verdict"), memory=None)
        probed.pop("outcome", None)
    probe = probe_adapter.normalize_result(probed, host=host, started=started)
    if probe.get("failed"):
        return probe
    retained = ("changed", "snapshot", "verdict", "memory", "failure", "unreachable_by", "started_at", "ended_at")
    result = {name: probe[name] for name in retained if name in probe}
    if probe.get("snapshot") is None:
        # An unreachable application counts as offline, whatever the cause.
        recover = {"procedure": "offline", "budget_s": catalog.EMERGENCIES["offline"].budget_s}
        return {
            **result,
            "outcome": probe["outcome"],
            "recover": recover,
            "diagnosis": None,
            "status": FAILED,
            "note": probe["failure"],
            "evidence": {"unreachable_by": probe.get("unreachable_by")},
        }
    diagnosis = dict(emergency["diagnosis"])
    plan = catalog.EMERGENCIES.get(str(diagnosis["alert"]))
    evidence = {name: diagnosis.get(name) for name in ("alert", "scenario", "severity", "level")}
    if plan is None:
        note: Any = [msg("No emergency: nothing calls for a procedure"), *diagnosis["reasons"]]
        return {**result, "recover": None, "diagnosis": diagnosis, "status": OK, "note": note, "evidence": evidence}
    note = [*diagnosis["reasons"], *diagnosis["proposals"], _command(plan.name, host)]
    recover = {"procedure": plan.name, "budget_s": plan.budget_s}
    return {**result, "recover": recover, "diagnosis": diagnosis, "status": FAILED, "note": note, "evidence": evidence}


def _command(procedure: str, host: str) -> Message:
    return msg(
        "Run: ansible-playbook playbooks/emergency/{procedure}.yml -e target={host}", procedure=procedure, host=host
    )
