"""Decisions of a watch cycle about its hosts. Pure: no clock, no files, no network.

A host's *problem* (``trouble`` in results) is why it is unhealthy: ``failing`` (a confirmed failure that a procedure
treats), ``unreachable``, ``unknown`` (reachable, but not observed), ``outside`` (healthy inside, its public URL
unreachable) or ``capacity`` (critical, and no procedure treats it). On-call is notified of the last four after some
cycles; only a failure starts a procedure, and only when two probes agree on it.
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

# Critical checks that no procedure treats and people must solve. Routines report errors in the logs.
_CAPACITY_CHECKS = ("host.memory", "mysql.connections")
_REASONS = 3

Decision = dict[str, Any]


def key_of(sources: Iterable[str], hosts: Iterable[str]) -> str:
    """Return the identifier of a watch, made of its inventory and hosts."""
    import hashlib

    text = "\n".join([*sorted(map(str, sources)), "", *sorted(map(str, hosts))])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def lateness_s(due: object, now: datetime) -> float:
    """Return by how many seconds a cycle due at ``due`` (ISO 8601, epoch seconds) is late; 0 without a due time.

    Raises:
        ValueError: ``due`` is not a time; one line.
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
    """The probe of a host and of its public URL in one cycle."""

    probe: ProbeResult
    problem: str | None
    public: Mapping[str, Any] | None = None  # reply of the public URL, None without one
    blip: list[Message] = field(default_factory=list)  # reasons that the second probe no longer found
    first: HostObservation | None = None  # the first probe, when a second confirmed it

    @classmethod
    def read(cls, value: object) -> HostObservation:
        """Read the registered result of the probe task; a host without one is unobserved."""
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
    """Return the fields of a probe that samples and decisions need, without the whole snapshot.

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
    if probe.failed and not failure:  # because of wrong variables
        failure = msg("The probe was not sent: {reason}", reason=probe.said)
    return {"snapshot": snapshot, "verdict": verdict, "outcome": probe.outcome, "failure": failure}


def probe_public_url(http: Any, url: str, limit_s: float) -> dict[str, Any]:
    """Request the public URL once from the controller, with the host package's ``health_endpoint``.

    ``{ok, url, status, latency_ms, error, reason: Message|None}``; the URL without secrets.
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
    """Return the reply of a public URL that did not answer in time, e.g. because of a slow resolver."""
    from urllib.parse import urlsplit

    from orquestrador.app.health_endpoint import shown_url

    shown = shown_url(urlsplit(url))
    reason = msg("{url} did not answer completely in time", url=shown)
    return {"ok": False, "url": shown, "status": None, "latency_ms": None, "error": "timeout", "reason": reason}


def classify(probe: ProbeResult, public: Mapping[str, Any] | None) -> str | None:
    """Return the problem of a host after its last probe; ``None`` when it is healthy or merely degraded.

    ``public`` is the reply of the public URL: ``{ok, …}``, ``None`` without one.
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
    """Count the cycles in a row with this problem, this one included; ``before`` is newest first."""
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
    """Decide what to do about a host.

    ``cycles``: in a row with this problem; ``patience``: cycles after which on-call is notified; ``incident``: whether
    one is open; ``maintenance``: the open window, if any.

    Returns ``{kind: none|recover|tell|settle, state, trouble, procedure, reasons, waits, then: Message|None}``;
    ``waits``: on-call is not notified yet when a procedure may not run.
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
    """Return the first reasons why a host is unhealthy."""
    messages = [observed.probe.failure] if observed.probe.failure else []
    if observed.problem == OUTSIDE and observed.public is not None:
        messages.append(outside(observed.public))
    messages += observed.probe.judged.reasons
    return (messages or observed.blip)[:_REASONS]


def outside(public: Mapping[str, Any]) -> Message:
    """Return the message for an application that is healthy on its host but unreachable by its public URL."""
    answered = msg("{url} answers with HTTP {status}", url=public.get("url"), status=public.get("status"))
    return msg("Reachable inside, not outside: {reason}", reason=public.get("reason") or answered)


def finding(observed: HostObservation, decision: Decision) -> dict[str, Any]:
    """Return a problem that no procedure treats in the shape of ``emergency_result``."""
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
    """Merge the inside and outside probes into one result: critical when either failed."""
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


# Outcomes after which the play fails.
NOT_WELL = (FAILED, OTHER, REFUSED, BREAKER, UNREACHABLE, TOLD)


def count_states(decisions: Mapping[str, Decision]) -> dict[str, int]:
    """Count the hosts by state, and those to recover."""
    counts = dict.fromkeys((HEALTHY, DEGRADED, CRITICAL, UNKNOWN, UNREACHABLE, OUTSIDE, RECOVER), 0)
    for decision in decisions.values():
        state = UNREACHABLE if decision["trouble"] == UNREACHABLE else decision["state"]
        state = OUTSIDE if decision["trouble"] == OUTSIDE else state
        counts[state if state in counts else UNKNOWN] += 1
        counts[RECOVER] += decision["kind"] == RECOVER
    return counts


def is_notable(decision: Decision) -> bool:
    """Return whether the operator sees a line about a host: it is unhealthy, or something is done."""
    return decision["state"] != HEALTHY or decision["then"] is not None
