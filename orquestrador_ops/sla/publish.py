"""Publish evaluated service levels: update alerts, roll up old probes, write metrics for other systems."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..core.text import clean, excerpt
from . import alerts
from .evaluate import measure
from .evaluate.objectives import Objectives
from .report import summary

if TYPE_CHECKING:
    from ..core.i18n import Translator
    from ..history.store import History
    from ..incidents.escalation import Desk

Document = Mapping[str, Any]
Results = Mapping[str, Sequence[Document]]  # documents by host, one for each period


@dataclass
class Outcome:
    """Result of all hosts; ``notes`` are by host."""

    notes: dict[str, list[Message]] = field(default_factory=dict)
    opened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    failed_channels: set[str] = field(default_factory=set)
    rolled_up: dict[str, Any] = field(default_factory=dict)
    textfile: str | None = None


def preview(store: History, results: Results) -> Outcome:
    """Return the notes of what :func:`publish` would do about alerts; write nothing."""
    outcome = Outcome()
    for host, documents in results.items():
        if documents:
            before = _firing_before(_baseline(store, host))
            outcome.notes[host] = alerts.preview(store, host, documents[-1]["burn"], before)
    return outcome


def publish(
    context: Desk, results: Results, objectives: Mapping[str, Objectives], options: Mapping[str, Any], timezone: str
) -> Outcome:
    """Update the alerts of every host, roll up old samples, write the metrics.

    ``results``: the documents of each host, one for each period, with its requested name, ``month`` for instance;
    ``objectives`` by host; ``options``: ``{raw_days, fine_days, textfile}``.

    Raises:
        orquestrador_ops.core.errors.HistoryError: the history cannot be read or written.
        OSError: the metrics cannot be written.
    """
    from .data import rollups

    outcome = Outcome()
    for host, documents in results.items():
        if documents:
            _alert(context, host, documents[-1]["burn"], objectives[host], outcome)
    gap_s = max((item.gap_s for item in objectives.values()), default=Objectives().gap_s)
    days = {name: options[name] for name in ("raw_days", "fine_days")}
    outcome.rolled_up = rollups.roll_up(context.store, context.now, **days, gap_s=gap_s)
    if options["textfile"]:
        from .export import openmetrics

        readings = [measure.reading(context.store, host, context.now, timezone, gap_s) for host in results]
        outcome.textfile = str(options["textfile"])
        documents = [item for several in results.values() for item in several]
        openmetrics.write(Path(outcome.textfile), documents, readings)
    return outcome


def _baseline(store: History, host: str) -> dict[str, Any]:
    return store.recall(host, alerts.PROCEDURE)


def _firing_before(baseline: Document) -> Document:
    """Return which burn rates fired the last time."""
    firing = baseline.get("burn")
    return firing if isinstance(firing, Mapping) else {}


def _alert(context: Desk, host: str, rates: Sequence[Document], objectives: Objectives, outcome: Outcome) -> None:
    baseline = _baseline(context.store, host)
    alert = alerts.update(context, host, rates, _firing_before(baseline))
    after = {**baseline, "burn": alert.state, "objectives": dataclasses.asdict(objectives)}
    if after != baseline:  # rarely: mostly nothing burns
        context.store.remember(host, alerts.PROCEDURE, after)
    outcome.notes[host] = alert.notes
    outcome.opened += alert.opened
    outcome.closed += alert.closed
    outcome.failed_channels |= set(alert.delivery.failed)


def documents_of(item: Document) -> list[Document]:
    """Return a host's documents, one for each period, from the registered result of its evaluation."""
    items = item.get("results") or []
    return [measure.named_period(item["document"], item.get("asked")) for item in items if item.get("document")]


def lines(outcome: Outcome, results: Results, logs: Mapping[str, Document], tr: Translator) -> list[str]:
    """Return the lines to show for all hosts; ``logs``: by host, the registered result of counting the logs."""
    shown = []
    for host, several in results.items():
        notes = [*outcome.notes.get(host, []), *_unread(logs[host])]
        shown += [*summary.host_lines(several, tr), *(f"  {tr.message(note)}" for note in notes)]
    shown = [clean(line, 400) for line in shown]
    return shown if outcome.textfile is None else [*shown, tr.t("Metrics written to {path}", path=outcome.textfile)]


def _unread(result: Document) -> list[Message]:
    if not (result.get("failed") or result.get("unreachable")):
        return []
    reason = excerpt(result.get("msg") or "", 200)
    return [
        msg("Requests and errors of the logs could not be counted, the last counts are used: {reason}", reason=reason)
    ]


def result(outcome: Outcome, results: Results, tr: Translator, *, enforce: bool) -> dict[str, Any]:
    """Return the task's result; with ``enforce`` it fails when a service level is missed."""
    missed = {host: line for host, several in results.items() if (line := summary.missed(several, tr))}
    failure = {"failed": True, "msg": "; ".join(f"{host}: {line}" for host, line in missed.items())}
    return {
        "changed": bool(outcome.opened or outcome.closed or outcome.textfile or any(outcome.rolled_up.values())),
        "opened": outcome.opened,
        "closed": outcome.closed,
        "failed_channels": sorted(outcome.failed_channels),
        "rolled_up": outcome.rolled_up,
        "missed": missed,
        **(failure if enforce and missed else {}),
    }
