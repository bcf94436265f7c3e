"""One host and one period, from the history (or from samples given by hand) to the document of service levels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg

from ...core.errors import SlaError
from ...core.i18n import epoch
from ...core.text import excerpt
from ..data import cells, periods, series, spans, timeline
from ..data import facts as facts_of
from ..data import store as stores
from ..data.facts import Facts
from ..data.periods import Period
from . import burn_rate as burn
from . import evaluate as evaluation
from . import readings
from .objectives import Objectives
from .readings import Reading

if TYPE_CHECKING:
    from ...history.store import History

Document = dict[str, Any]

# Procedures that restore a backup and compare it.
PROVING = ("backup", "verify_backup", "monthly")
MET, MISSED, UNPROVEN, NO_DATA = "met", "missed", "unproven", "no_data"


@dataclass(frozen=True)
class Measured:
    """What was found of one host in one period, and the facts it was found from."""

    document: Document
    facts: Facts


def period_of(
    name: str | None, start: object, end: object, *, now: float, timezone: str, default: str = "month"
) -> Period:
    """The period of that name, or from ``start`` to ``end``; ``ValueError``, one line, for what is none."""
    if start is None and end is None:
        return periods.parse(name or default, now=now, timezone=timezone)
    if name is not None:
        raise SlaError(msg("A period, and from or to, exclude each other: give one of them"))
    if start is None:
        raise SlaError(msg("An end without a beginning is no period: give from as well"))
    return periods.between(start, now if end is None else end, now=now, timezone=timezone)


def of_history(store: History, host: str, period: Period, objectives: Objectives, now: float) -> Measured:
    """Evaluate what the history knows. Raises :class:`orquestrador_ops.core.errors.HistoryError`."""
    facts = _facts(store, host, period, objectives, now)
    document = evaluation.evaluate(facts, objectives)
    return Measured({**document, "burn": burning(store, host, objectives, now)}, facts)


def burning(store: History, host: str, objectives: Objectives, now: float) -> list[dict[str, Any]]:
    """How fast the error budget burns at this moment; what was planned burns nothing."""
    begin = now - burn.LONGEST_S
    planned = stores.planned_time(store, host, begin, now, objectives.restart_allowance_s)
    recent = stores.series(store, host, begin, now)
    return burn.rates(recent, objectives, now, planned)


def _facts(store: History, host: str, period: Period, objectives: Objectives, now: float) -> Facts:
    allowed_s = objectives.restart_allowance_s
    return stores.facts(store, host, period, now, gap_s=objectives.gap_s, restart_allowance_s=allowed_s)


def of_samples(
    samples: Iterable[Mapping[str, Any]], host: str, period: Period, objectives: Objectives, now: float
) -> Measured:
    """Evaluate samples ``{at, ok, latency_ms}`` instead of the history.

    ``at`` is ISO 8601 or epoch seconds; ``latency_ms`` may be missing. ``ValueError``, one line, for one that is none.
    """
    given = series_of(samples)
    until = max(min(period.end, now), period.start)
    known = given[(given["at"] >= period.start - objectives.gap_s) & (given["at"] < until)]
    line = timeline.timeline(known, "uptime", period.start, until, objectives.gap_s)
    counted = cells.cells(known, facts_of.edges(period, until, spans.NONE))
    facts = Facts(host, period, now, {"uptime": line, "availability": None}, counted)
    document = evaluation.evaluate(facts, objectives)
    return Measured({**document, "burn": burn.rates(given[given["at"] <= now], objectives, now)}, facts)


def series_of(samples: Iterable[Mapping[str, Any]]) -> series.Series:
    """Samples ``{at, ok, latency_ms}`` as a series of probes inside. ``ValueError``, one line, for one that is none."""
    rows = []
    for number, one in enumerate(samples, 1):
        at, latency = epoch(one.get("at")), one.get("latency_ms")
        if at is None or not math.isfinite(at):
            given: dict[str, Any] = {"number": number, "value": excerpt(one.get("at"), 60)}
            raise SlaError(msg("Sample {number}: at is {value}: give ISO 8601, or seconds since 1970", **given))
        if not isinstance(one.get("ok"), bool):
            given = {"number": number, "value": excerpt(one.get("ok"), 60)}
            raise SlaError(msg("Sample {number}: ok is {value}: give true or false", **given))
        if latency is not None and not (isinstance(latency, int | float) and 0 <= latency < math.inf):
            given = {"number": number, "value": excerpt(latency, 60)}
            raise SlaError(msg("Sample {number}: latency_ms is {value}: give milliseconds, or leave it out", **given))
        rows.append((at, math.nan if latency is None else float(latency), bool(one["ok"])))
    made = series.empty(len(rows))
    for place, (at, latency_ms, good) in enumerate(rows):
        made[place]["at"], made[place]["latency_ms"] = at, latency_ms
        made[place]["flags"] = series.INSIDE_SEEN | (series.INSIDE_GOOD if good else 0)
    return series.normalized(made)


def called(document: Document, name: str | None) -> Document:
    """A document whose period has the name that it was asked by: ``month``, which is another one next month."""
    return {**document, "period": {**document["period"], "name": name}} if name else document


def reading(store: History, host: str, now: float, timezone: str, gap_s: float) -> Reading:
    """What metrics tell of a host beside its evaluated periods. Raises ``HistoryError``."""
    month = periods.parse("month", now=now, timezone=timezone)
    facts = _facts(store, host, month, Objectives(gap_s=gap_s), now)
    proofs = [run for name in PROVING for run in store.runs(host=host, procedure=name, check_mode=False, limit=20)]
    return readings.reading(
        host,
        facts.cells,
        stores.series(store, host, now - burn.LONGEST_S, now),
        backup_proven_at=readings.backup_proven_at(proofs),
    )


def verdict(document: Mapping[str, Any]) -> str:
    """The worst of a document's verdicts: one missed, else one that nothing proves, else all met."""
    found = {str(one["verdict"]) for one in document["slas"]}
    return next((word for word in (MISSED, UNPROVEN, NO_DATA) if word in found), MET)
