"""Status of hosts, incidents, breakers and reports, from the history alone; no host is contacted.

Every function returns one JSON document with stable keys: ``schema`` counts up when they change. Times are ISO 8601 in
UTC, durations seconds, messages in the operator's language.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg

from ...core.text import clean
from ...history import access
from ...history.baseline import STORE
from ...incidents import maintenance
from ...incidents import store as incidents
from ...incidents.breaker import BreakerStore, Limits, not_closed
from ...incidents.store import Incident
from ...runs import lifecycle
from .. import queries
from ..words import CliError, translated

if TYPE_CHECKING:
    from ...history.store import History

SCHEMA = 1
Document = dict[str, Any]
MAX_REPORT_BYTES = 8 << 20


def open_history(state_dir: Path) -> History:
    """Open the history of a state directory, or of ``OPS_HISTORY_URL``.

    Raises :class:`CliError` if there is none yet: reading must not create a store.
    """
    url = os.environ.get("OPS_HISTORY_URL") or None
    if access.absent(state_dir, url):
        path = str(state_dir)
        text = msg("nothing is on record in {path} yet: run a procedure, or name another with --state-dir", path=path)
        raise CliError(text, 1)
    return access.open_history(state_dir, url)


def _document(**content: Any) -> Document:
    return {"schema": SCHEMA, "at": datetime.now(UTC).isoformat(timespec="seconds"), **content}


def status(state_dir: Path) -> Document:
    """Return every host that is on record.

    ``{schema, at, state_dir, hosts: {host: {overall, ok, source, sampled_at, age_s, runs: {procedure: {run_id, outcome,
    started_at, ended_at, report}}, incidents: [as in list_incidents], breakers: [{procedure, state, recoveries, limit,
    opened_at, retry_at}], maintenance: {reason, operator, starts_at, ends_at}|null, recovering: {procedure, run_id,
    started_at}|null}}, watch: {started_at, ended_at, outcome, hosts, acted}|null}``
    """
    now = time.time()
    with open_history(state_dir) as store:
        samples = queries.last_samples(store)
        runs = queries.last_runs(store)
        open_rows = incidents.listed(store, limit=1000)
        windows = maintenance.open_windows(store, None, now)
        breakers = not_closed(store, Limits(), now)
        recovering = queries.recovering(store, now)
        watch = queries.last_cycle(store)
    names: set[str] = {*samples, *runs, *recovering}
    for rows in (open_rows, windows, breakers):
        names.update(str(row["host"]) for row in rows)
    hosts = {}
    for name in sorted(names):
        sample = samples.get(name)
        hosts[name] = {
            "overall": sample["overall"] if sample else None,
            "ok": sample["ok"] if sample else None,
            "source": sample["source"] if sample else None,
            "sampled_at": sample["at"] if sample else None,
            "age_s": round(max(now - sample["epoch"], 0.0), 1) if sample else None,
            "runs": runs.get(name, {}),
            "incidents": [_incident(row) for row in open_rows if row["host"] == name],
            "breakers": [_without_host(row) for row in breakers if row["host"] == name],
            "maintenance": next((_window(row) for row in windows if row["host"] == name), None),
            "recovering": recovering.get(name),
        }
    return _document(state_dir=str(state_dir), hosts=hosts, watch=watch)


def list_incidents(state_dir: Path, *, closed: bool, limit: int = 100) -> Document:
    """``{schema, at, incidents: [{id, host, alert, severity, level, opened_at, closed_at, acknowledged_at,
    acknowledged_by, next_at, run_id}]}``, newest first; without ``closed`` those that are open."""
    with open_history(state_dir) as store:
        rows = incidents.listed(store, closed=closed, limit=limit)
    return _document(incidents=[_incident(row) for row in rows])


def show_incident(state_dir: Path, number: int) -> Document:
    """Return one incident: :func:`list_incidents`, with ``reasons``, ``tried``, ``proposals`` (texts), ``scenario``,
    ``timeline: [{at, what}]``, ``notifications: [{at, level, channel, outcome, reason, run_id}]``, ``postmortem``
    (path, or null)."""
    with open_history(state_dir) as store:
        incident = incidents.get(store, number)
        notifications = incidents.told(store, number) if incident else []
    if incident is None:
        raise CliError(msg("There is no incident {number}: list them with runbook incidents", number=number), 1)
    from ...incidents import postmortem

    data = incident["data"]
    timeline = data.get("timeline") or []
    path = postmortem.path_of(incident, state_dir)
    return _document(
        incident={
            **_incident(incident),
            "scenario": data.get("scenario"),
            **{name: [translated(item) for item in data.get(name) or []] for name in ("reasons", "tried", "proposals")},
            "timeline": [{"at": row.get("at"), "what": translated(row.get("what"))} for row in timeline],
            "notifications": notifications,
            "postmortem": str(path) if path.exists() else None,
        }
    )


def acknowledge(state_dir: Path, number: int, note: str | None) -> Document:
    """Acknowledge an incident; return ``{schema, at, incident}``."""
    with open_history(state_dir) as store:
        try:
            incident = incidents.acknowledge(store, number, lifecycle.operator_name(), note=note)
        except incidents.IncidentError as error:
            raise CliError(error.message, 1) from error
    return _document(incident=_incident(incident))


def close_breaker(state_dir: Path, host: str, procedure: str) -> Document:
    """Close a breaker; return ``{schema, at, host, procedure, was_open, closed_by}``."""
    by = lifecycle.operator_name()
    with open_history(state_dir) as store:
        recovered = queries.recovered(store)
        if (host, procedure) not in recovered:
            names = {"procedure": procedure, "host": host}
            text = msg(
                "no recovery of {host} by {procedure} is on record: runbook status lists the circuit breakers", **names
            )
            raise CliError(text, 1)
        was_open = BreakerStore(store, host, procedure, Limits(), time.time()).close(by)
    return _document(host=host, procedure=procedure, was_open=was_open, closed_by=by)


def reports(state_dir: Path, *, host: str | None, procedure: str | None, limit: int) -> Document:
    """``{schema, at, reports: [{run_id, host, procedure, outcome, check_mode, started_at, ended_at, reports: {md, html,
    json}}]}``, newest first; a run that left none has ``{}``."""
    with open_history(state_dir) as store:
        rows = store.runs(host=host, procedure=procedure, limit=limit)
    return _document(reports=[_run(row) for row in rows])


def report(state_dir: Path, run_id: str, *, as_json: bool) -> str:
    """Return the report of one run, Markdown or JSON."""
    with open_history(state_dir) as store:
        run = queries.run(store, run_id)
    if run is None:
        raise CliError(msg("there is no run {run_id} on record: runbook reports lists them", run_id=run_id), 1)
    path = (run["reports"] or {}).get("json" if as_json else "md")
    if not path:
        raise CliError(msg("the run {run_id} left no report", run_id=run_id), 1)
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(MAX_REPORT_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise CliError(msg("{path} cannot be read: {reason}", path=str(path), reason=str(error.strerror)), 1) from error
    if as_json:
        try:
            json.loads(text)
        except ValueError:
            raise CliError(msg("{path} is damaged: it is not valid JSON", path=str(path)), 1) from None
    return text


_TIMES = ("opened_at", "closed_at", "acknowledged_at")
_INCIDENT = ("id", "host", "alert", "severity", "level", *_TIMES, "acknowledged_by", "next_at", "run_id")
_RUN = ("run_id", "host", "procedure", "outcome", "check_mode", "started_at", "ended_at")


def _incident(row: Incident) -> Document:
    return {name: row.get(name) for name in _INCIDENT}


def _run(row: Document) -> Document:
    return {**{name: row.get(name) for name in _RUN}, "reports": row.get("reports") or {}}


def _window(row: Document) -> Document:
    return {name: row.get(name) for name in ("reason", "operator", "starts_at", "ends_at")}


def _without_host(row: Document) -> Document:
    return {name: value for name, value in row.items() if name != "host"}


def open_incidents(state_dir: Path) -> Iterable[tuple[int, str]]:
    """Yield numbers and descriptions of open incidents, for completion; nothing without a readable local store."""
    import sqlite3

    store = state_dir / STORE
    if os.environ.get("OPS_HISTORY_URL") or not store.exists():
        return
    try:
        link = sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=0.2)
        with link:
            rows = link.execute("SELECT id, host, procedure FROM incidents WHERE closed_at IS NULL ORDER BY id DESC")
            yield from ((int(row[0]), clean(f"{row[1]}: {row[2]}", 80)) for row in rows.fetchmany(50))
        link.close()
    except sqlite3.Error:
        return
