"""What follows from evaluated service levels: alerts, probes of long ago kept small, and metrics for other systems."""

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
Found = Mapping[str, Sequence[Document]]  # by host, one for each period


@dataclass
class Outcome:
    """What was done about all hosts; ``notes`` are by host."""

    notes: dict[str, list[Message]] = field(default_factory=dict)
    opened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    failed_channels: set[str] = field(default_factory=set)
    rolled_up: dict[str, Any] = field(default_factory=dict)
    textfile: str | None = None


def would(store: History, found: Found) -> Outcome:
    """What :func:`settle` would do about alerts; nothing is written."""
    done = Outcome()
    for host, documents in found.items():
        if documents:
            done.notes[host] = alerts.would(store, host, documents[-1]["burn"], _before(_memory(store, host)))
    return done


def settle(
    desk: Desk, found: Found, objectives: Mapping[str, Objectives], wanted: Mapping[str, Any], timezone: str
) -> Outcome:
    """Alerts of every host, then roll-ups, then metrics.

    ``found``: the documents of each host, one for each period, which bears the name that it was asked by, ``month`` for
    instance; ``objectives``: what they were evaluated against; ``wanted``: ``{raw_days, fine_days, textfile}``.

    Raises:
        orquestrador_ops.core.errors.HistoryError: the history cannot be read or written.
        OSError: the metrics cannot be written.
    """
    from .data import rollups

    done = Outcome()
    for host, documents in found.items():
        if documents:
            _alert(desk, host, documents[-1]["burn"], objectives[host], done)
    gap_s = max((one.gap_s for one in objectives.values()), default=Objectives().gap_s)
    days = {name: wanted[name] for name in ("raw_days", "fine_days")}
    done.rolled_up = rollups.roll_up(desk.store, desk.now, **days, gap_s=gap_s)
    if wanted["textfile"]:
        from .export import openmetrics

        readings = [measure.reading(desk.store, host, desk.now, timezone, gap_s) for host in found]
        done.textfile = str(wanted["textfile"])
        openmetrics.write(Path(done.textfile), [one for several in found.values() for one in several], readings)
    return done


def _memory(store: History, host: str) -> dict[str, Any]:
    return store.recall(host, alerts.PROCEDURE)


def _before(memory: Document) -> Document:
    """Which burn rates fired the last time."""
    found = memory.get("burn")
    return found if isinstance(found, Mapping) else {}


def _alert(desk: Desk, host: str, rates: Sequence[Document], objectives: Objectives, done: Outcome) -> None:
    memory = _memory(desk.store, host)
    settled = alerts.settle(desk, host, rates, _before(memory))
    after = {**memory, "burn": settled.state, "objectives": dataclasses.asdict(objectives)}
    if after != memory:  # which nearly never is: nothing burns
        desk.store.remember(host, alerts.PROCEDURE, after)
    done.notes[host] = settled.notes
    done.opened += settled.opened
    done.closed += settled.closed
    done.failed_channels |= set(settled.told.failed)


def documents(result: Document) -> list[Document]:
    """What was evaluated for a host, by the registered result of that: one document for each period."""
    given = result.get("results") or []
    return [measure.called(one["document"], one.get("asked")) for one in given if one.get("document")]


def lines(outcome: Outcome, found: Found, logs: Mapping[str, Document], tr: Translator) -> list[str]:
    """What is shown of all hosts; ``logs``: by host, the registered result of counting what the logs tell of."""
    shown = []
    for host, several in found.items():
        notes = [*outcome.notes.get(host, []), *_unread(logs[host])]
        shown += [*summary.of_host(several, tr), *(f"  {tr.message(note)}" for note in notes)]
    shown = [clean(line, 400) for line in shown]
    return shown if outcome.textfile is None else [*shown, tr.t("Metrics written to {path}", path=outcome.textfile)]


def _unread(result: Document) -> list[Message]:
    if not (result.get("failed") or result.get("unreachable")):
        return []
    reason = excerpt(result.get("msg") or "", 200)
    return [msg("Requests and errors of the logs could not be counted, older counts stand: {reason}", reason=reason)]


def result(outcome: Outcome, found: Found, tr: Translator, *, enforce: bool) -> dict[str, Any]:
    """What the task returns; ``enforce``: it fails where a service level is missed."""
    missed = {host: line for host, several in found.items() if (line := summary.missed(several, tr))}
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
