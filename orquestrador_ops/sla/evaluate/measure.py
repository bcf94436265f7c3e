"""Evaluate one host and one period from the history, or from given samples, into the document of service levels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg

from ...core.errors import SlaError
from ...core.i18n import epoch
from ...core.text import excerpt
from ..data import aggregates, periods, series, spans, timeline
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
class Evaluation:
    """The document of one host and one period, and the facts behind it."""

    document: Document
    facts: Facts


def period_of(
    name: str | None, start: object, end: object, *, now: float, timezone: str, default: str = "month"
) -> Period:
    """Return the period of that name, or from ``start`` to ``end``. Raises ``ValueError``, one line."""
    if start is None and end is None:
        return periods.parse(name or default, now=now, timezone=timezone)
    if name is not None:
        raise SlaError(msg("A period cannot be combined with from or to: give one of them"))
    if start is None:
        raise SlaError(msg("An end needs a beginning: give from as well"))
    return periods.between(start, now if end is None else end, now=now, timezone=timezone)


def of_history(store: History, host: str, period: Period, objectives: Objectives, now: float) -> Evaluation:
    """Evaluate the history. Raises :class:`orquestrador_ops.core.errors.HistoryError`."""
    facts = _facts(store, host, period, objectives, now)
    document = evaluation.evaluate(facts, objectives)
    return Evaluation({**document, "burn": burn_rates(store, host, objectives, now)}, facts)


def burn_rates(store: History, host: str, objectives: Objectives, now: float) -> list[dict[str, Any]]:
    """Return the current burn rates of the error budget; planned time burns nothing."""
    begin = now - burn.LONGEST_S
    planned = stores.planned_time(store, host, begin, now, objectives.restart_allowance_s)
    recent = stores.series(store, host, begin, now)
    return burn.rates(recent, objectives, now, planned)


def _facts(store: History, host: str, period: Period, objectives: Objectives, now: float) -> Facts:
    allowed_s = objectives.restart_allowance_s
    return stores.facts(store, host, period, now, gap_s=objectives.gap_s, restart_allowance_s=allowed_s)


def of_samples(
    samples: Iterable[Mapping[str, Any]], host: str, period: Period, objectives: Objectives, now: float
) -> Evaluation:
    """Evaluate samples ``{at, ok, latency_ms}`` instead of the history.

    ``at`` is ISO 8601 or epoch seconds; ``latency_ms`` may be missing. Raises ``ValueError``, one line.
    """
    series = series_of(samples)
    until = max(min(period.end, now), period.start)
    relevant = series[(series["at"] >= period.start - objectives.gap_s) & (series["at"] < until)]
    line = timeline.timeline(relevant, "uptime", period.start, until, objectives.gap_s)
    cells = aggregates.aggregate(relevant, facts_of.edges(period, until, spans.NONE))
    facts = Facts(host, period, now, {"uptime": line, "availability": None}, cells)
    document = evaluation.evaluate(facts, objectives)
    return Evaluation({**document, "burn": burn.rates(series[series["at"] <= now], objectives, now)}, facts)


def series_of(samples: Iterable[Mapping[str, Any]]) -> series.Series:
    """Return samples ``{at, ok, latency_ms}`` as a series of probes on the host. Raises ``ValueError``, one line."""
    rows = []
    for number, sample in enumerate(samples, 1):
        at, latency = epoch(sample.get("at")), sample.get("latency_ms")
        if at is None or not math.isfinite(at):
            names: dict[str, Any] = {"number": number, "value": excerpt(sample.get("at"), 60)}
            raise SlaError(msg("Sample {number}: at is {value}: give ISO 8601, or seconds since 1970", **names))
        if not isinstance(sample.get("ok"), bool):
            names = {"number": number, "value": excerpt(sample.get("ok"), 60)}
            raise SlaError(msg("Sample {number}: ok is {value}: give true or false", **names))
        if latency is not None and not (isinstance(latency, int | float) and 0 <= latency < math.inf):
            names = {"number": number, "value": excerpt(latency, 60)}
            raise SlaError(msg("Sample {number}: latency_ms is {value}: give milliseconds, or leave it out", **names))
        rows.append((at, math.nan if latency is None else float(latency), bool(sample["ok"])))
    result = series.empty(len(rows))
    for index, (at, latency_ms, good) in enumerate(rows):
        result[index]["at"], result[index]["latency_ms"] = at, latency_ms
        result[index]["flags"] = series.INSIDE_PROBED | (series.INSIDE_GOOD if good else 0)
    return series.normalized(result)


def named_period(document: Document, name: str | None) -> Document:
    """Return a document with the requested name of its period, ``month`` for instance, instead of ``2026-11``."""
    return {**document, "period": {**document["period"], "name": name}} if name else document


def reading(store: History, host: str, now: float, timezone: str, gap_s: float) -> Reading:
    """Return a host's metrics beside its evaluated periods. Raises ``HistoryError``."""
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
    """Return the worst of a document's verdicts: missed, else unproven, else without data, else met."""
    verdicts = {str(sla["verdict"]) for sla in document["slas"]}
    return next((name for name in (MISSED, UNPROVEN, NO_DATA) if name in verdicts), MET)
