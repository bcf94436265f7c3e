"""What one cycle of the watch makes of what it saw. Pure: no clock, no files, no network.

A host's *trouble* is what keeps it from being well: ``failing`` (a confirmed failure that a procedure treats),
``unreachable``, ``unknown`` (it could be reached, but not observed), ``outside`` (healthy inside, not reachable from
here) or ``capacity`` (critical, and no procedure treats it). The last four are told to people once they have lasted
for some cycles; only a failure is acted upon, and only when two looks agree on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import CRITICAL, DEGRADED, FAILED, HEALTHY, REFUSED, UNKNOWN, Message

from ..core.coerce import dig, items, mapping
from ..core.host_results import ProbeResult
from ..core.i18n import parse_time
from ..core.outcomes import BREAKER, OTHER, TOLD, UNREACHABLE

FAILING, UNSEEN, OUTSIDE, CAPACITY = "failing", "unknown", "outside", "capacity"
NONE, RECOVER, NOTIFY, CLOSE = "none", "recover", "tell", "settle"
COMPLETED, SKIPPED, LATE, RUNNING = "done", "skipped", "late", "running"

# Critical and treated by no procedure: what people have to make room for. Errors in the logs are told by the routines.
_CAPACITY_CHECKS = ("host.memory", "mysql.connections")
_REASONS = 3

Decision = dict[str, Any]


def key_of(sources: Iterable[str], hosts: Iterable[str]) -> str:
    """What makes two cycles the same watch: the inventory and the hosts it is of."""
    import hashlib

    text = "\n".join([*sorted(map(str, sources)), "", *sorted(map(str, hosts))])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def lateness_s(due: object, now: datetime) -> float:
    """By how many seconds a cycle that was due at ``due`` (ISO 8601, epoch seconds) is late; 0 without a due time.

    Raises:
        ValueError: one line, for what is no time.
    """
    if due is None or due == "":
        return 0.0
    try:
        moment = parse_time(float(str(due)))
    except ValueError:
        moment = parse_time(due)
    if moment is None:
        raise ValueError(f"watch_due is {due!r}: give the time at which the cycle was due, in ISO 8601")
    return max((now - moment).total_seconds(), 0.0)


@dataclass(frozen=True)
class HostObservation:
    """What a cycle saw of a host, from inside and from here."""

    probe: ProbeResult
    problem: str | None
    public: Mapping[str, Any] | None = None  # how the address for users answered, None where it was not asked
    blip: list[Message] = field(default_factory=list)  # what a second look did not find any more
    first: HostObservation | None = None  # the look before this one, where two were taken

    @classmethod
    def read(cls, value: object) -> HostObservation:
        """Take what the task that looks registered; a host that has nothing was not seen."""
        registered = mapping(value) or {"trouble": UNSEEN}
        first = mapping(registered.get("first_look"))
        return cls(
            probe=ProbeResult.read(registered),
            problem=str(registered["trouble"]) if registered.get("trouble") else None,
            public=mapping(registered.get("public")) or None,
            blip=items(registered.get("blip")),
            first=cls.read(first) if first else None,
        )


def summarize_probe(probe: ProbeResult) -> dict[str, Any]:
    """What a sample and a decision need of a probe: a healthy host's whole snapshot would only be carried about.

    ``{snapshot, verdict, outcome, failure}``.
    """
    snapshot: dict[str, Any] | None = None
    if probe.snapshot is not None:
        http, app = (mapping(dig(probe.snapshot, *path)) for path in (("http",), ("pm2", "app")))
        snapshot = {
            "taken_at": probe.snapshot.get("taken_at"),
            "http": {name: http.get(name) for name in ("status", "latency_median_ms")},
            "pm2": {"app": {name: app.get(name) for name in ("memory_bytes", "cpu_percent", "restarts")}},
            "logs": {"errors_day": dig(probe.snapshot, "logs", "errors_day")},
            "resources": {"disk": dig(probe.snapshot, "resources", "disk")},
        }
    verdict: dict[str, Any] | None = None
    if probe.verdict is not None:
        probe_verdict = probe.judged
        checks = [{"id": name, "status": status} for name, status in probe_verdict.checks.items()]
        verdict = {
            **{name: getattr(probe_verdict, name) for name in ("overall", "procedure", "reasons")},
            "checks": checks,
        }
    failure = probe.failure
    if probe.failed and not failure:  # because of its variables
        failure = msg("The probe was not sent: {reason}", reason=probe.said)
    return {"snapshot": snapshot, "verdict": verdict, "outcome": probe.outcome, "failure": failure}


def probe_public_url(http: Any, url: str, limit_s: float) -> dict[str, Any]:
    """How the address for users answers from here, asked once with ``module_utils``' ``http_health``.

    ``{ok, url, status, latency_ms, error, reason: Message|None}``; the URL without what may be secret in it.
    """
    state, findings = http.collect(url, requests=1, timeout_s=limit_s, request_timeout_s=limit_s)
    status = state["status"]
    return {
        "ok": state["error"] is None and status is not None and 200 <= status < 300,
        "url": state["url"],
        "status": status,
        "latency_ms": state["latency_median_ms"],
        "error": state["error"],
        "reason": findings[0]["message"] if state["error"] and findings else None,
    }


def unanswered_reply(url: str) -> dict[str, Any]:
    """What :func:`asked` would have said had it come back: a name that is not resolved in time, say."""
    from urllib.parse import urlsplit

    from orquestrador.app.health_endpoint import shown_url

    shown = shown_url(urlsplit(url))
    reason = msg("{url} did not answer completely in time", url=shown)
    return {"ok": False, "url": shown, "status": None, "latency_ms": None, "error": "timeout", "reason": reason}


def classify(probe: ProbeResult, public: Mapping[str, Any] | None) -> str | None:
    """What is wrong with a host after its last look; ``None`` for one that is well or merely degraded.

    ``public`` is how the address for users answered from here: ``{ok, …}``, ``None`` when it was not asked.
    """
    verdict = probe.judged
    if probe.outcome == UNREACHABLE:
        return UNREACHABLE
    if verdict.procedure != NONE:
        return FAILING
    if verdict.overall == CRITICAL and not verdict.ids(CRITICAL).isdisjoint(_CAPACITY_CHECKS):
        return CAPACITY
    if verdict.overall == UNKNOWN:
        return UNSEEN
    return OUTSIDE if public is not None and not public.get("ok") else None


def consecutive_cycles(problem: str | None, before: Sequence[str | None]) -> int:
    """For how many cycles in a row a trouble has been there, this one included; ``before`` is newest first."""
    if problem is None:
        return 0
    count = 1
    for earlier in before:
        if earlier != problem:
            break
        count += 1
    return count


def decide(
    observed: HostObservation,
    *,
    cycles: int,
    patience: int,
    incident: bool,
    maintenance: Mapping[str, Any] | None,
) -> Decision:
    """What to do about a host.

    ``lasted``: cycles in a row with this trouble; ``patience``: of how many to tell people; ``incident``: whether one
    is open; ``maintenance``: the open window, if any.

    Returns ``{kind: none|recover|tell|settle, state, trouble, procedure, reasons, waits, then: Message|None}``;
    ``waits``: people are not told yet of a trouble that nobody may treat.
    """
    probe, problem = observed.probe, observed.problem
    assessment = {
        "state": str(problem or UNKNOWN) if probe.verdict is None else probe.judged.overall,
        "trouble": problem,
        "procedure": probe.judged.procedure,
        "reasons": reasons(observed),
        "waits": cycles < patience,
    }
    kind, then = _course(observed, assessment, cycles, patience, incident, maintenance)
    return {**assessment, "kind": kind, "then": then}


def _course(
    observed: HostObservation,
    assessment: Mapping[str, Any],
    cycles: int,
    patience: int,
    incident: bool,
    maintenance: Mapping[str, Any] | None,
) -> tuple[str, Message | None]:
    problem = assessment["trouble"]
    course: tuple[str, Message | None] = (NONE, None)
    if maintenance is not None and (problem is not None or incident):
        course = NONE, msg("in maintenance until {until_at}: left alone", until_at=maintenance.get("ends_at"))
    elif problem == FAILING:
        course = RECOVER, msg("confirmed: {procedure} follows", procedure=assessment["procedure"])
    elif problem is not None and cycles >= patience:
        course = NOTIFY, msg("for {cycles} cycles or more: people are told", cycles=patience)
    elif problem is not None:
        course = NONE, msg("cycle {lasted} of {patience}: noted", lasted=cycles, patience=patience)
    elif incident and assessment["state"] in (HEALTHY, DEGRADED):
        course = CLOSE, msg("well again: the incident is looked at")
    elif observed.blip:
        course = NONE, msg("a second look found it well: nothing was done")
    return course


def reasons(observed: HostObservation) -> list[Message]:
    """Why a host is not well, the first few."""
    messages = [observed.probe.failure] if observed.probe.failure else []
    if observed.problem == OUTSIDE and observed.public is not None:
        messages.append(outside(observed.public))
    messages += observed.probe.judged.reasons
    return (messages or observed.blip)[:_REASONS]


def outside(public: Mapping[str, Any]) -> Message:
    """What is said of an application that is well on its host and can't be reached from here."""
    answered = msg("{url} answers with HTTP {status}", url=public.get("url"), status=public.get("status"))
    return msg("Reachable inside, not outside: {reason}", reason=public.get("reason") or answered)


def finding(observed: HostObservation, decision: Decision) -> dict[str, Any]:
    """A trouble that no procedure treats, in the shape in which a procedure reports: ``emergency_result``."""
    problem = str(decision["trouble"])
    severity, level, proposal = _ESCALATIONS[problem]
    return {
        "changed": False,
        "outcome": FAILED,
        "diagnosis": {
            "alert": problem,
            "severity": severity,
            "scenario": problem,
            "reasons": decision["reasons"],
            "proposals": [proposal],
            "level": level,
        },
        "before": {"snapshot": observed.probe.snapshot, "verdict": observed.probe.verdict},
        "steps": {},
        "over_budget": False,
        "failures": [],
    }


def merge_probes(observed: Mapping[str, Any]) -> dict[str, Any]:
    """What was seen from inside and from here as the result of one probe: not well when either is not."""
    verdict = observed.get("verdict")
    if observed.get("trouble") != OUTSIDE or not isinstance(verdict, Mapping):
        return dict(observed)
    return {**observed, "verdict": {**verdict, "overall": CRITICAL}}


_ESCALATIONS: Mapping[str, tuple[str, str, Message]] = {
    UNREACHABLE: (
        "critical",
        "L2",
        msg("See whether the host runs and whether its SSH answers; the application may work all the same."),
    ),
    UNSEEN: ("medium", "L2", msg("Run triage: it says what could not be observed and why.")),
    OUTSIDE: (
        "high",
        "L2",
        msg("Look at what stands between: proxy, firewall, DNS, or app_public_url in the inventory."),
    ),
    CAPACITY: ("high", "L4", msg("Make room: the report names what is used up.")),
}


# Ends after which a cycle's status is not 0.
NOT_WELL = (FAILED, OTHER, REFUSED, BREAKER, UNREACHABLE, TOLD)


def count_states(decisions: Mapping[str, Decision]) -> dict[str, int]:
    """How many hosts a cycle found well, and what it does about the others."""
    counts = dict.fromkeys((HEALTHY, DEGRADED, CRITICAL, UNKNOWN, UNREACHABLE, OUTSIDE, RECOVER), 0)
    for decision in decisions.values():
        state = UNREACHABLE if decision["trouble"] == UNREACHABLE else decision["state"]
        state = OUTSIDE if decision["trouble"] == OUTSIDE else state
        counts[state if state in counts else UNKNOWN] += 1
        counts[RECOVER] += decision["kind"] == RECOVER
    return counts


def is_notable(decision: Decision) -> bool:
    """Whether an operator is shown a host: whatever is not healthy, or about to be settled."""
    return decision["state"] != HEALTHY or decision["then"] is not None
