"""``runbook sla``: the service levels of every host on record, from the history alone; no host is asked.

The objectives are those that the inventory gave ``monitoring/sla.yml`` last, which leaves them in the history, else the
playbook's; ``--objective`` overrides either.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg

from ...core import i18n
from ...core.errors import HistoryError, SlaError
from ...sla import alerts
from ...sla.data import store as stores
from ...sla.evaluate import measure
from ...sla.evaluate.objectives import Objectives
from ...sla.report import summary
from ..words import Refused, locale_of
from . import status as looking

if TYPE_CHECKING:
    from ...history.store import History
    from ...sla.data.periods import Period

Document = dict[str, Any]

SCHEMA = 1
MET, MISSED, UNPROVEN = 0, 1, 3


@dataclass(frozen=True)
class Asked:
    """What was asked on the command line."""

    state_dir: Path
    host: str | None = None
    period: str | None = None
    start: str | None = None
    end: str | None = None
    objectives: tuple[str, ...] = ()
    gap_s: float | None = None


@dataclass(frozen=True)
class Answer:
    """``{schema, at, hosts: {host: document}}``, with one host its document's keys as well, and the exit status."""

    document: Document
    status: int


def translator() -> i18n.Translator:
    """The terminal's language, in ``OPS_TIMEZONE``; :class:`Refused` where nobody knows that zone.

    Elsewhere an unknown zone costs nothing but readable times; here it would move the borders of every day.
    """
    try:
        return i18n.translator(locale_of(os.environ), os.environ.get("OPS_TIMEZONE") or i18n.DEFAULT_TIMEZONE)
    except ValueError as error:
        raise Refused(msg("{reason} (OPS_TIMEZONE)", reason=str(error))) from error


def evaluate(asked: Asked, *, report: bool = False, now: float | None = None) -> Answer:
    """Evaluate every host, or the one that is asked for.

    Raises :class:`Refused`, and :class:`orquestrador_ops.core.errors.SlaError` for a period that is none.
    """
    tr, at = translator(), time.time() if now is None else now
    period = _period(asked, at, tr)
    found: dict[str, Document] = {}
    for host, measured in _measured(asked, [period], at):
        written = _written(measured[0], asked.state_dir, tr) if report else {}
        document = summary.worded(measured[0].document, tr)
        found[host] = {**document, **({"reports": written} if report else {})}
    only = next(iter(found.values())) if len(found) == 1 else {}
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return Answer({**only, "schema": SCHEMA, "at": stamp, "hosts": found}, status_of(found.values()))


def status_of(documents: Iterable[Mapping[str, Any]]) -> int:
    """0: every SLA is met; 1: one is missed; 3: none is, but not every one is proven."""
    verdicts = {measure.verdict(one) for one in documents}
    if measure.MISSED in verdicts:
        return MISSED
    return MET if verdicts <= {measure.MET} else UNPROVEN


def export(directory: Path, given: Sequence[str], gap_s: float | None) -> Document:
    """Write rules, dashboards and OpenSLO documents; ``{schema, directory, files}``."""
    from ...sla.export import artefacts

    wanted = overridden(Objectives(), given, gap_s)
    files = artefacts.write(directory.expanduser().resolve(), wanted, timezone=translator().zone_name())
    return {"schema": SCHEMA, "directory": str(directory), "files": [str(path) for path in files]}


def metrics(asked: Asked, names: Sequence[str], output: Path | None, *, openmetrics: bool = False) -> str:
    """The figures as text for a scraper; with ``output`` written there, and nothing to print."""
    from ...sla.export import openmetrics as writer

    tr, at = translator(), time.time()
    wanted = [_period(dataclasses.replace(asked, period=name), at, tr) for name in names]
    found = _measured(asked, wanted, at)
    documents = [
        measure.called(one.document, name) for _, several in found for name, one in zip(names, several, strict=True)
    ]
    with _opened(asked.state_dir) as store:
        gap_s = Objectives().gap_s if asked.gap_s is None else asked.gap_s
        readings = [measure.reading(store, host, at, tr.zone_name(), gap_s) for host, _ in found]
    if output is None:
        return writer.text(documents, readings, openmetrics=openmetrics)
    writer.write(output, documents, readings, openmetrics=openmetrics)
    return ""


def overridden(held: Objectives, given: Sequence[str], gap_s: float | None) -> Objectives:
    """Objectives with ``name=value`` ones instead; a value may be a percentage. Raises ``Refused``, ``SlaError``."""
    known = {one.name for one in dataclasses.fields(Objectives)}
    changes: dict[str, Any] = {} if gap_s is None else {"gap_s": gap_s}
    for text in given:
        name, _, value = text.partition("=")
        if name not in known:
            raise Refused(
                msg("--objective {given}: use one of {known}", given=text[:60], known=", ".join(sorted(known)))
            )
        try:
            number = float(value.removesuffix("%"))
        except ValueError:
            raise Refused(msg("--objective {given}: give a number, 99.95% for instance", given=text[:60])) from None
        changes[name] = number / 100 if value.endswith("%") else number
    return _objectives({**dataclasses.asdict(held), **changes})


def _objectives(values: Mapping[str, Any]) -> Objectives:
    from ...sla.evaluate import objectives

    return objectives.of({f"sla_{name}": value for name, value in values.items()}, lambda value: value)


def _period(asked: Asked, now: float, tr: i18n.Translator) -> Period:
    return measure.period_of(asked.period, asked.start, asked.end, now=now, timezone=tr.zone_name())


def _measured(asked: Asked, wanted: Sequence[Period], now: float) -> list[tuple[str, list[measure.Measured]]]:
    """Hosts with what was found of each period."""
    with _opened(asked.state_dir) as store:
        found = []
        for host in _hosts(store, asked.host):
            objectives = overridden(_remembered(store, host), asked.objectives, asked.gap_s)
            found.append((host, [measure.of_history(store, host, period, objectives, now) for period in wanted]))
        return found


@contextlib.contextmanager
def _opened(state_dir: Path) -> Iterator[History]:
    """The history. One that is not there, or cannot be read, proves nothing, and no SLA was missed either."""
    try:
        with looking.open_history(state_dir) as store:
            yield store
    except HistoryError as error:
        raise Refused(error.message, UNPROVEN) from error
    except Refused as refused:
        raise Refused(refused.message, UNPROVEN if refused.status == 1 else refused.status) from refused


def _hosts(store: History, host: str | None) -> list[str]:
    known = stores.hosts(store)
    if not known:
        text = msg(
            "no probe is on record in {name}: run the daily routine or the watch, or runbook history import",
            name=store.name,
        )
        raise Refused(text, UNPROVEN)
    if host is None:
        return known
    if host not in known:
        shown = ", ".join(known[:10])
        raise Refused(msg("no probe of {host} is on record: there are {known}", host=host, known=shown), UNPROVEN)
    return [host]


def _remembered(store: History, host: str) -> Objectives:
    """What the inventory last had for this host; what cannot be read is as if nothing were remembered."""
    held = store.recall(host, alerts.PROCEDURE).get("objectives")
    known = {one.name for one in dataclasses.fields(Objectives)}
    values = {name: value for name, value in held.items() if name in known} if isinstance(held, Mapping) else {}
    try:
        return _objectives({**dataclasses.asdict(Objectives()), **values})
    except SlaError:
        return Objectives()


def _written(measured: measure.Measured, state_dir: Path, tr: i18n.Translator) -> dict[str, str]:
    from ...sla.report import page

    return page.write(measured.document, reports_dir=state_dir / "reports", tr=tr, facts=measured.facts)
