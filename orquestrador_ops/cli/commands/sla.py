"""``runbook sla``: the service levels of every host on record, from the history alone; no host is contacted.

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
from ..words import CliError, locale_of
from . import status

if TYPE_CHECKING:
    from ...history.store import History
    from ...sla.data.periods import Period

Document = dict[str, Any]

SCHEMA = 1
MET, MISSED, UNPROVEN = 0, 1, 3


@dataclass(frozen=True)
class SlaQuery:
    """Options of the command line."""

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
    """Return the terminal's translator in ``OPS_TIMEZONE``. Raises :class:`CliError` for an unknown zone.

    Elsewhere an unknown zone only changes displayed times; here it would move the borders of every day.
    """
    try:
        return i18n.translator(locale_of(os.environ), os.environ.get("OPS_TIMEZONE") or i18n.DEFAULT_TIMEZONE)
    except ValueError as error:
        raise CliError(msg("{reason} (OPS_TIMEZONE)", reason=str(error))) from error


def evaluate(query: SlaQuery, *, report: bool = False, now: float | None = None) -> Answer:
    """Evaluate every host, or the one of the query.

    Raises :class:`CliError`, and :class:`orquestrador_ops.core.errors.SlaError` for an invalid period.
    """
    tr, at = translator(), time.time() if now is None else now
    period = _period(query, at, tr)
    documents: dict[str, Document] = {}
    for host, evaluations in _evaluations(query, [period], at):
        written = _write_report(evaluations[0], query.state_dir, tr) if report else {}
        document = summary.translate_messages(evaluations[0].document, tr)
        documents[host] = {**document, **({"reports": written} if report else {})}
    only = next(iter(documents.values())) if len(documents) == 1 else {}
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return Answer({**only, "schema": SCHEMA, "at": stamp, "hosts": documents}, status_of(documents.values()))


def status_of(documents: Iterable[Mapping[str, Any]]) -> int:
    """Return the exit status: 0 when all SLAs are met, 1 when one is missed, 3 when one is unproven."""
    verdicts = {measure.verdict(document) for document in documents}
    if measure.MISSED in verdicts:
        return MISSED
    return MET if verdicts <= {measure.MET} else UNPROVEN


def export(directory: Path, overrides: Sequence[str], gap_s: float | None) -> Document:
    """Write rules, dashboards and OpenSLO documents; ``{schema, directory, files}``."""
    from ...sla.export import artefacts

    objectives = overridden(Objectives(), overrides, gap_s)
    files = artefacts.write(directory.expanduser().resolve(), objectives, timezone=translator().zone_name())
    return {"schema": SCHEMA, "directory": str(directory), "files": [str(path) for path in files]}


def metrics(query: SlaQuery, names: Sequence[str], output: Path | None, *, openmetrics: bool = False) -> str:
    """Return the metrics as text for a scraper; with ``output`` write them there, and return an empty text."""
    from ...sla.export import openmetrics as writer

    tr, at = translator(), time.time()
    periods = [_period(dataclasses.replace(query, period=name), at, tr) for name in names]
    results = _evaluations(query, periods, at)
    pairs = [pair for _, items in results for pair in zip(names, items, strict=True)]
    documents = [measure.named_period(item.document, name) for name, item in pairs]
    with _open_history(query.state_dir) as store:
        gap_s = Objectives().gap_s if query.gap_s is None else query.gap_s
        readings = [measure.reading(store, host, at, tr.zone_name(), gap_s) for host, _ in results]
    if output is None:
        return writer.text(documents, readings, openmetrics=openmetrics)
    writer.write(output, documents, readings, openmetrics=openmetrics)
    return ""


def overridden(current: Objectives, overrides: Sequence[str], gap_s: float | None) -> Objectives:
    """Override objectives by ``name=value``, also in percent. Raises ``CliError``, ``SlaError``."""
    names = {field.name for field in dataclasses.fields(Objectives)}
    changes: dict[str, Any] = {} if gap_s is None else {"gap_s": gap_s}
    for text in overrides:
        name, _, value = text.partition("=")
        if name not in names:
            raise CliError(
                msg("--objective {given}: use one of {known}", given=text[:60], known=", ".join(sorted(names)))
            )
        try:
            number = float(value.removesuffix("%"))
        except ValueError:
            raise CliError(msg("--objective {given}: give a number, 99.95% for instance", given=text[:60])) from None
        changes[name] = number / 100 if value.endswith("%") else number
    return _objectives({**dataclasses.asdict(current), **changes})


def _objectives(values: Mapping[str, Any]) -> Objectives:
    from ...sla.evaluate import objectives

    return objectives.from_variables({f"sla_{name}": value for name, value in values.items()}, lambda value: value)


def _period(query: SlaQuery, now: float, tr: i18n.Translator) -> Period:
    return measure.period_of(query.period, query.start, query.end, now=now, timezone=tr.zone_name())


def _evaluations(query: SlaQuery, periods: Sequence[Period], now: float) -> list[tuple[str, list[measure.Evaluation]]]:
    """Return hosts with the evaluation of each period."""
    with _open_history(query.state_dir) as store:
        results = []
        for host in _hosts(store, query.host):
            objectives = overridden(_stored_objectives(store, host), query.objectives, query.gap_s)
            results.append((host, [measure.of_history(store, host, period, objectives, now) for period in periods]))
        return results


@contextlib.contextmanager
def _open_history(state_dir: Path) -> Iterator[History]:
    """Open the history. A missing or unreadable one gives the exit status of unproven service levels."""
    try:
        with status.open_history(state_dir) as store:
            yield store
    except HistoryError as error:
        raise CliError(error.message, UNPROVEN) from error
    except CliError as refused:
        raise CliError(refused.message, UNPROVEN if refused.status == 1 else refused.status) from refused


def _hosts(store: History, host: str | None) -> list[str]:
    host_names = stores.hosts(store)
    if not host_names:
        text = msg(
            "no probe is on record in {name}: run the daily routine or the watch, or runbook history import",
            name=store.name,
        )
        raise CliError(text, UNPROVEN)
    if host is None:
        return host_names
    if host not in host_names:
        shown = ", ".join(host_names[:10])
        raise CliError(msg("no probe of {host} is on record: there are {known}", host=host, known=shown), UNPROVEN)
    return [host]


def _stored_objectives(store: History, host: str) -> Objectives:
    """Return the inventory's last objectives for this host; the defaults without valid ones."""
    current = store.recall(host, alerts.PROCEDURE).get("objectives")
    names = {field.name for field in dataclasses.fields(Objectives)}
    values = {name: value for name, value in current.items() if name in names} if isinstance(current, Mapping) else {}
    try:
        return _objectives({**dataclasses.asdict(Objectives()), **values})
    except SlaError:
        return Objectives()


def _write_report(evaluation: measure.Evaluation, state_dir: Path, tr: i18n.Translator) -> dict[str, str]:
    from ...sla.report import writer

    return writer.write(evaluation.document, reports_dir=state_dir / "reports", tr=tr, facts=evaluation.facts)
