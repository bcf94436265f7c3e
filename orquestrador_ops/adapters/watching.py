"""Between Ansible and the watch: the cycle's variables, confirmed probes and outcomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..core import outcomes
from ..core.coerce import mapping
from ..core.host_results import ProbeResult, RecoveryResult
from ..runs import lifecycle as runs
from ..watch import cycle as watch_cycle
from ..watch import decisions as watch
from . import results

# Resolving a name has no time limit of its own: after this the reply is not awaited any longer.
GRACE_S = 1.0
# Keys of the last probe that stay beside its summary, for the conclusion and the procedures.
RETAINED = ("memory", "started_at", "ended_at", "run_id", "owner")

Observed = dict[str, Any]
BothSides = tuple[Observed, Observed | None]


def cycle_from_variables(variables: Mapping[str, Any], template: Callable[[Any], Any]) -> watch_cycle.Cycle:
    """Return the cycle from the variables of its first host. Raises ``ValueError``, one line."""

    def number(name: str, low: float = 0) -> float:
        return watch_cycle.parse_number(name, template(variables[name]), low)

    return watch_cycle.Cycle(
        sources=tuple(map(str, variables.get("ansible_inventory_sources") or ())),
        hosts=tuple(map(str, variables.get("ansible_play_hosts_all") or ())),
        owner=runs.lease_owner(),
        budget_s=runs.budget_of(template(variables["report_budget_s"])),
        late_s=number("watch_late_s"),
        patience=int(number("watch_unreachable_cycles", 1)),
    )


def probe_both_sides(inside: Callable[[], Observed], http: Any, url: str, limit_s: float) -> BothSides:
    """Probe the host and its public URL at the same time; the second is ``None`` without a URL."""
    if not url:
        return inside(), None
    replies: list[Observed] = []
    thread = threading.Thread(target=lambda: replies.append(watch.probe_public_url(http, url, limit_s)), daemon=True)
    thread.start()
    result = inside()
    thread.join(limit_s + GRACE_S)
    return result, replies[0] if replies else watch.unanswered_reply(url)


def confirm_failure(observe: Callable[[], BothSides], confirm_s: float) -> Observed:
    """Probe, and again ``confirm_s`` later when the first probe found a failure; return the result."""
    result, public = observe()
    probe = ProbeResult.read(result)
    problem = watch.classify(probe, public)
    observed: Observed = {**watch.summarize_probe(probe), "public": public}
    if problem in (watch.FAILING, watch.OUTSIDE):
        time.sleep(confirm_s)
        before = watch.HostObservation(probe, problem, public)
        result, public = observe()
        probe = ProbeResult.read(result)
        problem = watch.classify(probe, public)
        blip = [] if problem is not None else watch.reasons(before)
        observed = {**watch.summarize_probe(probe), "public": public, "first_look": observed, "blip": blip}
    retained: Observed = {name: result[name] for name in RETAINED if name in result}
    failed: Observed = {"failed": True, "msg": probe.said} if probe.failed else {}
    return {"changed": False, **observed, **retained, "trouble": problem, **failed}


def outcome_of(decision: watch.Decision, variables: Mapping[str, Any]) -> str:
    """Return the outcome of a host (``outcomes.OF_WATCHED``) from its registered results."""
    if decision["kind"] == watch.CLOSE:
        return outcomes.SETTLED
    if decision["kind"] == watch.NOTIFY:
        return outcomes.TOLD
    gate, recovery = (
        results.registered(variables, "gate"),
        RecoveryResult.read(results.registered(variables, "emergency")),
    )
    if gate and not gate.get("allowed"):
        return outcomes.HELD if gate.get("maintenance") else outcomes.BREAKER
    if recovery.unreachable:
        return outcomes.UNREACHABLE
    run = mapping(results.registered(variables, "run").get("run"))  # the last one of two
    own_alerts = (None, watch.NONE, run.get("procedure", decision["procedure"]))
    if recovery.outcome == outcomes.REFUSED and recovery.diagnosis.alert not in own_alerts:
        return outcomes.OTHER
    outcome_names = {
        outcomes.HEALTHY: outcomes.NOTHING,
        outcomes.RECOVERED: outcomes.RECOVERED,
        outcomes.REFUSED: outcomes.REFUSED,
    }
    return outcome_names.get(str(recovery.outcome), outcomes.FAILED)
