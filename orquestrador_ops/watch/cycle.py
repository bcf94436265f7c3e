"""One watch cycle on the controller: admission, record and the operator's lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..core import i18n, outcomes, text
from ..core.errors import HistoryError
from ..core.settings import Settings
from . import decisions as watch
from . import lock as watch_lock

MAX_LINES = 40
MAX_NUMBER = 10**6


def parse_number(name: str, value: object, low: float = 0) -> float:
    """Return an inventory variable as a number. Raises ``ValueError``, one line that names it."""
    try:
        result = float(str(value))
    except ValueError:
        result = -1.0
    if not low <= result < MAX_NUMBER:
        raise ValueError(f"{name} is {value!r}: give a number from {low:g} in the inventory")
    return result


@dataclass(frozen=True)
class Cycle:
    """Identity and limits of a cycle. Times in seconds."""

    sources: tuple[str, ...]
    hosts: tuple[str, ...]
    owner: str
    budget_s: float
    late_s: float
    patience: int  # cycles in a row after which on-call is notified of a problem that no procedure treats

    @property
    def key(self) -> str:
        """Identifier of the watch: of its inventory and hosts."""
        return watch.key_of(self.sources, self.hosts)


@dataclass
class RecordedCycle:
    """A recorded cycle: decisions by host, the operator's lines, and its row in the history."""

    decisions: dict[str, watch.Decision]
    lines: list[str]
    number: int | None = None


def begin(
    cycle: Cycle, settings: Settings, *, pid: int, due: object, check_mode: bool
) -> tuple[str, Message | None, Any]:
    """Start a cycle; return ``(outcome, reason, number)``, the outcome ``running``, ``late`` or ``skipped``.

    A late or skipped cycle is recorded, with its reason. ``number`` is the cycle's row in a shared history. In check
    mode nothing is locked or recorded.

    A shared history that does not answer does not stop the cycle: hosts are probed, and recording reports why nothing
    is done.

    Raises:
        ValueError: ``due`` is no time.
        OSError: the lock, or the row of a skipped cycle, can't be written.
    """
    late = watch.lateness_s(due, datetime.now(UTC))
    if late > cycle.late_s:
        reason = msg("This cycle of the watch was due {late_s} ago: it is left out", late_s=round(late, 1))
        return watch.LATE, reason, _record_skipped(cycle, settings, watch.LATE, reason, check_mode)
    if check_mode:
        return watch.RUNNING, None, None
    holder = watch_lock.take(settings.state_dir, cycle.key, pid)
    if holder is not None:
        reason = msg(
            "Another cycle of this watch is under way (process {pid}): this one is left out", pid=holder["pid"]
        )
        return watch.SKIPPED, reason, _record_skipped(cycle, settings, watch.SKIPPED, reason, check_mode)
    if settings.history_url is None:
        return watch.RUNNING, None, None  # no other controller uses this history, and its library is slow to load
    number, answered = _claim_row(cycle, settings)
    if answered and number is None:
        reason = msg("Another controller has a cycle of this watch under way: this one is left out")
        return watch.SKIPPED, reason, _record_skipped(cycle, settings, watch.SKIPPED, reason, check_mode)
    return watch.RUNNING, None, number


def _claim_row(cycle: Cycle, settings: Settings) -> tuple[int | None, bool]:
    """Return the cycle's row in a shared history (``None``: another cycle runs) and whether the history answered."""
    from ..history import access

    try:
        with access.open_history(settings.state_dir, settings.history_url) as store:
            return _insert_row(store, cycle), True
    except OSError:
        return None, False  # hosts are probed and recorded all the same, and nothing is done (see record)


def _insert_row(store: Any, cycle: Cycle) -> int | None:
    from . import store as watch_store

    number: int | None = watch_store.begin(
        store, key=cycle.key, owner=cycle.owner, hosts=len(cycle.hosts), budget_s=cycle.budget_s
    )
    return number


def _record_skipped(cycle: Cycle, settings: Settings, outcome: str, reason: Message, check_mode: bool) -> int | None:
    if check_mode:
        return None
    from ..history import access
    from . import store as watch_store

    with access.open_history(settings.state_dir, settings.history_url) as store:
        data = {"key": cycle.key, "owner": cycle.owner, "why": reason}
        return watch_store.note(store, outcome, hosts=len(cycle.hosts), data=data)


def record(
    cycle: Cycle,
    settings: Settings,
    observed: Mapping[str, watch.HostObservation],
    *,
    number: int | None,
    started: float,
    check_mode: bool,
) -> RecordedCycle:
    """Record the probes of a cycle in one transaction and decide about every host.

    ``observed``: by host; ``number`` and ``started`` (epoch seconds): of the cycle.

    Raises:
        OSError: the history cannot be read or written: nothing may be done then, because recoveries could not be
            counted. The probes are spooled (:mod:`orquestrador_ops.history.spool`).
    """
    from ..history import spool
    from . import store as watch_store

    rows = watch_store.rows_of(_samples(observed))
    try:
        return _store_cycle(cycle, settings, observed, rows, number=number, started=started, check_mode=check_mode)
    except _CycleRecordError as error:
        raise error.reason from error.__cause__
    except OSError as error:
        if check_mode:
            raise
        raise spool.keep(settings.state_dir, rows, error) from error


class _CycleRecordError(Exception):
    """The cycle could not be recorded after its samples were stored."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _store_cycle(
    cycle: Cycle,
    settings: Settings,
    observed: Mapping[str, watch.HostObservation],
    rows: list[dict[str, Any]],
    *,
    number: int | None,
    started: float,
    check_mode: bool,
) -> RecordedCycle:
    from ..history import access, spool
    from . import store as watch_store

    tr = settings.translator()
    with access.open_history(settings.state_dir, settings.history_url) as store:
        decisions = _decisions(store, cycle, observed)
        recorded = RecordedCycle(decisions, _lines(decisions, tr), number)
        if check_mode:
            return recorded
        memories = {
            host: host_observed.probe.memory
            for host, host_observed in observed.items()
            if host_observed.probe.memory is not None
        }
        watch_store.record_rows(store, rows, memories)
        spool.reserve(settings.state_dir)
        try:
            _note(store, cycle, settings, recorded, len(observed), started)
        except OSError as error:
            raise _CycleRecordError(error) from error
    return recorded


def _note(store: Any, cycle: Cycle, settings: Settings, recorded: RecordedCycle, hosts: int, started: float) -> None:
    """Write the cycle's row with its decisions."""
    from . import store as watch_store

    if recorded.number is None and settings.history_url is not None:
        # The history did not answer when the cycle began: another controller may have one by now, and acts.
        recorded.number = _insert_row(store, cycle)
        if recorded.number is None:
            raise HistoryError(msg("another controller has a cycle of this watch under way: nothing is done about it"))
    if recorded.number is None:
        identity = {"key": cycle.key, "owner": cycle.owner}
        recorded.number = watch_store.note(store, watch.RUNNING, hosts=hosts, data=identity)
    idle = all(decision["kind"] == watch.NONE for decision in recorded.decisions.values())
    counts = watch.count_states(recorded.decisions)
    watch_store.finish(store, recorded.number, acted=0, data=counts, started_at=started, over=idle)


def with_finding(observed: watch.HostObservation, decision: watch.Decision) -> dict[str, Any]:
    """Return the decision for the playbook, with the ``finding`` that on-call is notified of."""
    return {**decision, "finding": watch.finding(observed, decision) if decision["kind"] == watch.NOTIFY else None}


def budgets() -> dict[str, int]:
    """Return the budget of each emergency procedure in seconds."""
    from ..procedures.catalog import EMERGENCIES

    return {name: procedure.budget_s for name, procedure in EMERGENCIES.items()}


def finish(settings: Settings, number: int, results: Mapping[str, str]) -> None:
    """Close a cycle that acted. ``results``: outcomes by host (``adapters/watching.py``)."""
    from ..history import access
    from . import store as watch_store

    acted = sum(outcome in (outcomes.RECOVERED, outcomes.FAILED, outcomes.UNREACHABLE) for outcome in results.values())
    with access.open_history(settings.state_dir, settings.history_url) as store:
        watch_store.finish(store, number, acted=acted, data={"ended": dict(results)})


def final_lines(results: Mapping[str, str], tr: i18n.Translator) -> list[str]:
    """Return one line with the outcome for every host that had a task."""
    lines = [f"  {host}: {tr.message(_ENDS[outcome])}" for host, outcome in list(results.items())[:MAX_LINES]]
    return [text.clean(line, 400) for line in lines]


_ENDS: Mapping[str, Message] = {
    outcomes.RECOVERED: msg("recovered, and proven healthy"),
    outcomes.NOTHING: msg("well again before anything was done"),
    outcomes.FAILED: msg("not recovered: see the report"),
    outcomes.REFUSED: msg("not recovered: another procedure has the lease of the host"),
    outcomes.OTHER: msg("another procedure's case by now: the next cycle sees to it"),
    outcomes.HELD: msg("left alone: maintenance is under way"),
    outcomes.BREAKER: msg("left alone: too many recoveries, the circuit breaker is open"),
    outcomes.UNREACHABLE: msg("could not be reached"),
    outcomes.TOLD: msg("people were told"),
    outcomes.SETTLED: msg("the incident was looked at"),
}


def _decisions(store: Any, cycle: Cycle, observed: Mapping[str, watch.HostObservation]) -> dict[str, watch.Decision]:
    from . import store as watch_store

    incidents = watch_store.open_incidents(store)
    decisions: dict[str, watch.Decision] = {}
    for host, host_observed in observed.items():
        problem = host_observed.problem
        before = watch_store.last_problems(store, host, cycle.patience) if problem is not None else []
        decisions[host] = watch.decide(
            host_observed,
            cycles=watch.consecutive_cycles(problem, before),
            patience=cycle.patience,
            incident=host in incidents,
            maintenance=_maintenance(store, host) if problem or host in incidents else None,
        )
    return decisions


def _maintenance(store: Any, host: str) -> Mapping[str, Any] | None:
    """Return the open maintenance window of a host."""
    from ..incidents import maintenance

    return maintenance.active(store, host, time.time())


def _samples(observed: Mapping[str, watch.HostObservation]) -> Iterator[tuple[str, Any, Any, dict[str, Any]]]:
    """Yield samples for the history: of a confirmed probe the first one as well."""
    for host, host_observed in observed.items():
        if host_observed.first is not None:
            yield _sample(host, host_observed.first, {"first_look": True})
        yield _sample(host, host_observed, {"trouble": host_observed.problem})


def _sample(host: str, observed: watch.HostObservation, more: dict[str, Any]) -> tuple[str, Any, Any, dict[str, Any]]:
    if observed.public is not None:
        more["public"] = {name: observed.public.get(name) for name in ("ok", "status", "latency_ms", "error")}
    return host, observed.probe.snapshot, observed.probe.verdict, more


def _lines(decisions: Mapping[str, watch.Decision], tr: i18n.Translator) -> list[str]:
    """Return a line for every unhealthy host, and a summary."""
    notable = [(host, decision) for host, decision in decisions.items() if watch.is_notable(decision)]
    lines = [_line(host, decision, tr) for host, decision in notable[:MAX_LINES]]
    if len(notable) > MAX_LINES:
        lines.append("  " + tr.t("{count} more", count=len(notable) - MAX_LINES))
    counts = watch.count_states(decisions)
    parts = [tr.message({**_WORDS[name], "args": {"count": count}}) for name, count in counts.items() if count]
    return [*lines, tr.t("Watch of {hosts} host(s)", hosts=len(decisions)) + ": " + ", ".join(parts)]


_WORDS: Mapping[str, Message] = {
    "healthy": msg("{count} healthy", count=0),
    "degraded": msg("{count} degraded", count=0),
    "critical": msg("{count} critical", count=0),
    "unknown": msg("{count} unknown", count=0),
    "unreachable": msg("{count} unreachable", count=0),
    "outside": msg("{count} not reachable from outside", count=0),
    "recover": msg("{count} to recover", count=0),
}


def _line(host: str, decision: watch.Decision, tr: i18n.Translator) -> str:
    reasons = "; ".join(filter(None, map(tr.message, decision["reasons"])))
    then = tr.message(decision["then"])
    state = tr.message(_STATES.get(decision["trouble"] or decision["state"], msg("unknown")))
    line = f"  {host}: {state}" + (f" - {reasons}" if reasons else "") + (f" -> {then}" if then else "")
    return text.clean(line, 400)


_STATES: Mapping[str, Message] = {
    watch.FAILING: msg("failing"),
    outcomes.UNREACHABLE: msg("unreachable"),
    watch.UNSEEN: msg("unknown"),
    watch.OUTSIDE: msg("not reachable from outside"),
    watch.CAPACITY: msg("short of capacity"),
    "healthy": msg("healthy"),
    "degraded": msg("degraded"),
    "critical": msg("critical"),
    "unknown": msg("unknown"),
}
