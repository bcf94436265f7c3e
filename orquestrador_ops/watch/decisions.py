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
NONE, RECOVER, TELL, SETTLE = "none", "recover", "tell", "settle"
DONE, SKIPPED, LATE, RUNNING = "done", "skipped", "late", "running"

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
class Look:
    """What a cycle saw of a host, from inside and from here."""

    probe: ProbeResult
    trouble: str | None
    public: Mapping[str, Any] | None = None  # how the address for users answered, None where it was not asked
    blip: list[Message] = field(default_factory=list)  # what a second look did not find any more
    first: Look | None = None  # the look before this one, where two were taken

    @classmethod
    def read(cls, value: object) -> Look:
        """Take what the task that looks registered; a host that has nothing was not seen."""
        found = mapping(value) or {"trouble": UNSEEN}
        first = mapping(found.get("first_look"))
        return cls(
            probe=ProbeResult.read(found),
            trouble=str(found["trouble"]) if found.get("trouble") else None,
            public=mapping(found.get("public")) or None,
            blip=items(found.get("blip")),
            first=cls.read(first) if first else None,
        )


def essence(probe: ProbeResult) -> dict[str, Any]:
    """What a sample and a decision need of a probe: a healthy host's whole snapshot would only be carried about.

    ``{snapshot, verdict, outcome, failure}``.
    """
    kept: dict[str, Any] | None = None
    if probe.snapshot is not None:
        http, app = (mapping(dig(probe.snapshot, *path)) for path in (("http",), ("pm2", "app")))
        kept = {
            "taken_at": probe.snapshot.get("taken_at"),
            "http": {name: http.get(name) for name in ("status", "latency_median_ms")},
            "pm2": {"app": {name: app.get(name) for name in ("memory_bytes", "cpu_percent", "restarts")}},
            "logs": {"errors_day": dig(probe.snapshot, "logs", "errors_day")},
            "resources": {"disk": dig(probe.snapshot, "resources", "disk")},
        }
    verdict: dict[str, Any] | None = None
    if probe.verdict is not None:
        judged = probe.judged
        checks = [{"id": name, "status": status} for name, status in judged.checks.items()]
        verdict = {**{name: getattr(judged, name) for name in ("overall", "procedure", "reasons")}, "checks": checks}
    failure = probe.failure
    if probe.failed and not failure:  # because of its variables
        failure = msg("The probe was not sent: {reason}", reason=probe.said)
    return {"snapshot": kept, "verdict": verdict, "outcome": probe.outcome, "failure": failure}


def asked(http: Any, url: str, limit_s: float) -> dict[str, Any]:
    """How the address for users answers from here, asked once with ``module_utils``' ``http_health``.

    ``{ok, url, status, latency_ms, error, reason: Message|None}``; the URL without what may be secret in it.
    """
    state, found = http.collect(url, requests=1, timeout_s=limit_s, request_timeout_s=limit_s)
    status = state["status"]
    return {
        "ok": state["error"] is None and status is not None and 200 <= status < 300,
        "url": state["url"],
        "status": status,
        "latency_ms": state["latency_median_ms"],
        "error": state["error"],
        "reason": found[0]["message"] if state["error"] and found else None,
    }


def unanswered(url: str) -> dict[str, Any]:
    """What :func:`asked` would have said had it come back: a name that is not resolved in time, say."""
    from urllib.parse import urlsplit

    from orquestrador.app.health_endpoint import shown_url

    shown = shown_url(urlsplit(url))
    reason = msg("{url} did not answer completely in time", url=shown)
    return {"ok": False, "url": shown, "status": None, "latency_ms": None, "error": "timeout", "reason": reason}


def trouble(probe: ProbeResult, public: Mapping[str, Any] | None) -> str | None:
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


def streak(now: str | None, before: Sequence[str | None]) -> int:
    """For how many cycles in a row a trouble has been there, this one included; ``before`` is newest first."""
    if now is None:
        return 0
    count = 1
    for one in before:
        if one != now:
            break
        count += 1
    return count


def decide(
    seen: Look,
    *,
    lasted: int,
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
    probe, found = seen.probe, seen.trouble
    told = {
        "state": str(found or UNKNOWN) if probe.verdict is None else probe.judged.overall,
        "trouble": found,
        "procedure": probe.judged.procedure,
        "reasons": reasons(seen),
        "waits": lasted < patience,
    }
    kind, then = _course(seen, told, lasted, patience, incident, maintenance)
    return {**told, "kind": kind, "then": then}


def _course(
    seen: Look,
    told: Mapping[str, Any],
    lasted: int,
    patience: int,
    incident: bool,
    maintenance: Mapping[str, Any] | None,
) -> tuple[str, Message | None]:
    found = told["trouble"]
    course: tuple[str, Message | None] = (NONE, None)
    if maintenance is not None and (found is not None or incident):
        course = NONE, msg("in maintenance until {until_at}: left alone", until_at=maintenance.get("ends_at"))
    elif found == FAILING:
        course = RECOVER, msg("confirmed: {procedure} follows", procedure=told["procedure"])
    elif found is not None and lasted >= patience:
        course = TELL, msg("for {cycles} cycles or more: people are told", cycles=patience)
    elif found is not None:
        course = NONE, msg("cycle {lasted} of {patience}: noted", lasted=lasted, patience=patience)
    elif incident and told["state"] in (HEALTHY, DEGRADED):
        course = SETTLE, msg("well again: the incident is looked at")
    elif seen.blip:
        course = NONE, msg("a second look found it well: nothing was done")
    return course


def reasons(seen: Look) -> list[Message]:
    """Why a host is not well, the first few."""
    found = [seen.probe.failure] if seen.probe.failure else []
    if seen.trouble == OUTSIDE and seen.public is not None:
        found.append(outside(seen.public))
    found += seen.probe.judged.reasons
    return (found or seen.blip)[:_REASONS]


def outside(public: Mapping[str, Any]) -> Message:
    """What is said of an application that is well on its host and can't be reached from here."""
    answered = msg("{url} answers with HTTP {status}", url=public.get("url"), status=public.get("status"))
    return msg("Reachable inside, not outside: {reason}", reason=public.get("reason") or answered)


def finding(seen: Look, decision: Decision) -> dict[str, Any]:
    """A trouble that no procedure treats, in the shape in which a procedure reports: ``emergency_result``."""
    found = str(decision["trouble"])
    severity, level, proposal = _TOLD[found]
    return {
        "changed": False,
        "outcome": FAILED,
        "diagnosis": {
            "alert": found,
            "severity": severity,
            "scenario": found,
            "reasons": decision["reasons"],
            "proposals": [proposal],
            "level": level,
        },
        "before": {"snapshot": seen.probe.snapshot, "verdict": seen.probe.verdict},
        "steps": {},
        "over_budget": False,
        "failures": [],
    }


def as_one_look(seen: Mapping[str, Any]) -> dict[str, Any]:
    """What was seen from inside and from here as the result of one probe: not well when either is not."""
    verdict = seen.get("verdict")
    if seen.get("trouble") != OUTSIDE or not isinstance(verdict, Mapping):
        return dict(seen)
    return {**seen, "verdict": {**verdict, "overall": CRITICAL}}


_TOLD: Mapping[str, tuple[str, str, Message]] = {
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


def tally(decisions: Mapping[str, Decision]) -> dict[str, int]:
    """How many hosts a cycle found well, and what it does about the others."""
    counted = dict.fromkeys((HEALTHY, DEGRADED, CRITICAL, UNKNOWN, UNREACHABLE, OUTSIDE, RECOVER), 0)
    for one in decisions.values():
        state = UNREACHABLE if one["trouble"] == UNREACHABLE else one["state"]
        state = OUTSIDE if one["trouble"] == OUTSIDE else state
        counted[state if state in counted else UNKNOWN] += 1
        counted[RECOVER] += one["kind"] == RECOVER
    return counted


def worth_a_line(decision: Decision) -> bool:
    """Whether an operator is shown a host: whatever is not healthy, or about to be settled."""
    return decision["state"] != HEALTHY or decision["then"] is not None
