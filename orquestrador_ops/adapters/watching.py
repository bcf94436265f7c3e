"""What the watch takes from Ansible: whose cycle it is, what two looks at a host come to, how it ended with it."""

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

# Names are resolved without a limit of their own: then the answer is not waited for any longer.
GRACE_S = 1.0
# What the last look says besides its essence: whoever concludes or acts goes on with it.
KEPT = ("memory", "started_at", "ended_at", "run_id", "owner")

Seen = dict[str, Any]
Looks = tuple[Seen, Seen | None]


def cycle_of(variables: Mapping[str, Any], template: Callable[[Any], Any]) -> watch_cycle.Cycle:
    """What a cycle is of, from the variables of the host that speaks for all. ``ValueError``, one line."""

    def number(name: str, low: float = 0) -> float:
        return watch_cycle.number(name, template(variables[name]), low)

    return watch_cycle.Cycle(
        sources=tuple(map(str, variables.get("ansible_inventory_sources") or ())),
        hosts=tuple(map(str, variables.get("ansible_play_hosts_all") or ())),
        owner=runs.lease_owner(),
        budget_s=runs.budget_of(template(variables["report_budget_s"])),
        late_s=number("watch_late_s"),
        patience=int(number("watch_unreachable_cycles", 1)),
    )


def both(inside: Callable[[], Seen], http: Any, url: str, limit_s: float) -> Looks:
    """What is seen inside and, at the same time, at the address for users: ``None`` where there is none."""
    if not url:
        return inside(), None
    answer: list[Seen] = []
    asking = threading.Thread(target=lambda: answer.append(watch.asked(http, url, limit_s)), daemon=True)
    asking.start()
    result = inside()
    asking.join(limit_s + GRACE_S)
    return result, answer[0] if answer else watch.unanswered(url)


def confirmed(look: Callable[[], Looks], confirm_s: float) -> Seen:
    """The result of a look, and of a second one ``confirm_s`` later where the first found a failure."""
    result, public = look()
    probe = ProbeResult.read(result)
    found = watch.trouble(probe, public)
    seen: Seen = {**watch.essence(probe), "public": public}
    if found in (watch.FAILING, watch.OUTSIDE):
        time.sleep(confirm_s)
        before = watch.Look(probe, found, public)
        result, public = look()
        probe = ProbeResult.read(result)
        found = watch.trouble(probe, public)
        blip = [] if found is not None else watch.reasons(before)
        seen = {**watch.essence(probe), "public": public, "first_look": seen, "blip": blip}
    kept: Seen = {name: result[name] for name in KEPT if name in result}
    failed: Seen = {"failed": True, "msg": probe.said} if probe.failed else {}
    return {"changed": False, **seen, **kept, "trouble": found, **failed}


def ended(decision: watch.Decision, variables: Mapping[str, Any]) -> str:
    """How it ended with a host (``outcomes.OF_WATCHED``): from what the roles registered for it."""
    if decision["kind"] == watch.SETTLE:
        return outcomes.SETTLED
    if decision["kind"] == watch.TELL:
        return outcomes.TOLD
    gate, recovery = results.of(variables, "gate"), RecoveryResult.read(results.of(variables, "emergency"))
    if gate and not gate.get("allowed"):
        return outcomes.HELD if gate.get("maintenance") else outcomes.BREAKER
    if recovery.unreachable:
        return outcomes.UNREACHABLE
    run = mapping(results.of(variables, "run").get("run"))  # the last one of two
    mine = (None, watch.NONE, run.get("procedure", decision["procedure"]))
    if recovery.outcome == outcomes.REFUSED and recovery.diagnosis.alert not in mine:
        return outcomes.OTHER
    known = {
        outcomes.HEALTHY: outcomes.NOTHING,
        outcomes.RECOVERED: outcomes.RECOVERED,
        outcomes.REFUSED: outcomes.REFUSED,
    }
    return known.get(str(recovery.outcome), outcomes.FAILED)
