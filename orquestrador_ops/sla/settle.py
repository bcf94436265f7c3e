"""What follows from evaluated service levels: alerts, probes of long ago kept small, and metrics for other systems."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from . import alerts
from .evaluate import measure
from .evaluate.objectives import Objectives

if TYPE_CHECKING:
    from ..history.store import History
    from ..incidents.escalation import Desk

Document = Mapping[str, Any]


@dataclass
class Outcome:
    """What was done about all hosts; ``notes`` are by host."""

    notes: dict[str, list[Message]] = field(default_factory=dict)
    opened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    failed_channels: set[str] = field(default_factory=set)
    rolled_up: dict[str, Any] = field(default_factory=dict)
    textfile: str | None = None


def would(store: History, found: Mapping[str, Sequence[Document]]) -> Outcome:
    """What :func:`settle` would do about alerts; nothing is written."""
    done = Outcome()
    for host, documents in found.items():
        if documents:
            done.notes[host] = alerts.would(store, host, documents[-1]["burn"], _before(_memory(store, host)))
    return done


def settle(
    desk: Desk,
    found: Mapping[str, Sequence[Document]],
    objectives: Mapping[str, Objectives],
    *,
    raw_days: int,
    fine_days: int,
    textfile: Path | None,
    timezone: str,
) -> Outcome:
    """Alerts of every host, then roll-ups, then metrics.

    ``found``: the documents of each host, one for each period, which bears the name that it was asked by, ``month`` for
    instance; ``objectives``: what they were evaluated against.

    Raises:
        orquestrador_ops.core.errors.HistoryError: the history cannot be read or written.
        OSError: the metrics cannot be written.
    """
    from .data import rollups
    from .export import openmetrics

    done = Outcome()
    for host, documents in found.items():
        if documents:
            _alert(desk, host, documents[-1]["burn"], objectives[host], done)
    gap_s = max((one.gap_s for one in objectives.values()), default=Objectives().gap_s)
    done.rolled_up = rollups.roll_up(desk.store, desk.now, raw_days=raw_days, fine_days=fine_days, gap_s=gap_s)
    if textfile is not None:
        readings = [measure.reading(desk.store, host, desk.now, timezone, gap_s) for host in found]
        openmetrics.write(textfile, [one for documents in found.values() for one in documents], readings)
        done.textfile = str(textfile)
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


def unread(result: object) -> Message | None:
    """Why the logs of a host could not be read, by the registered result of that; ``None`` where nobody failed to."""
    if not isinstance(result, Mapping) or not (result.get("failed") or result.get("unreachable")):
        return None
    return msg("Requests and errors of the logs could not be counted, older counts stand: {reason}",
               reason=" ".join(str(result.get("msg") or "").split())[:200])  # fmt: skip


def described(outcome: Outcome) -> list[Message]:
    """What was done besides alerts, a line each."""
    return [] if outcome.textfile is None else [msg("Metrics written to {path}", path=outcome.textfile)]
