"""What is on record: hosts, incidents, breakers, reports. Read from the history alone; no host is asked.

Every function returns one JSON document whose keys stay: ``schema`` counts up when they change. Times are ISO 8601 in
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
from ...runs import lifecycle as runs
from .. import queries as records
from ..words import Refused, said

if TYPE_CHECKING:
    from ...history.store import History

SCHEMA = 1
Document = dict[str, Any]
MAX_REPORT_BYTES = 8 << 20


def open_history(state_dir: Path) -> History:
    """The history of a state directory, or the one that ``OPS_HISTORY_URL`` names.

    :class:`Refused` where there is none yet: looking makes no store.
    """
    url = os.environ.get("OPS_HISTORY_URL") or None
    if access.absent(state_dir, url):
        path = str(state_dir)
        text = msg("nothing is on record in {path} yet: run a procedure, or name another with --state-dir", path=path)
        raise Refused(text, 1)
    return access.open_history(state_dir, url)


def _document(**content: Any) -> Document:
    return {"schema": SCHEMA, "at": datetime.now(UTC).isoformat(timespec="seconds"), **content}


def status(state_dir: Path) -> Document:
    """Every host that is on record.

    ``{schema, at, state_dir, hosts: {host: {overall, ok, source, sampled_at, age_s, runs: {procedure: {run_id, outcome,
    started_at, ended_at, report}}, incidents: [as in incidents_of], breakers: [{procedure, state, recoveries, limit,
    opened_at, retry_at}], maintenance: {reason, operator, starts_at, ends_at}|null, recovering: {procedure, run_id,
    started_at}|null}}, watch: {started_at, ended_at, outcome, hosts, acted}|null}``
    """
    now = time.time()
    with open_history(state_dir) as store:
        samples = records.last_samples(store)
        last = records.last_runs(store)
        open_ones = incidents.listed(store, limit=1000)
        windows = maintenance.open_windows(store, None, now)
        breakers = not_closed(store, Limits(), now)
        recovering = records.recovering(store, now)
        watch = records.last_cycle(store)
    names: set[str] = {*samples, *last, *recovering}
    for several in (open_ones, windows, breakers):
        names.update(str(one["host"]) for one in several)
    hosts = {}
    for name in sorted(names):
        sample = samples.get(name)
        hosts[name] = {
            "overall": sample["overall"] if sample else None,
            "ok": sample["ok"] if sample else None,
            "source": sample["source"] if sample else None,
            "sampled_at": sample["at"] if sample else None,
            "age_s": round(max(now - sample["epoch"], 0.0), 1) if sample else None,
            "runs": last.get(name, {}),
            "incidents": [_incident(one) for one in open_ones if one["host"] == name],
            "breakers": [_without_host(one) for one in breakers if one["host"] == name],
            "maintenance": next((_window(one) for one in windows if one["host"] == name), None),
            "recovering": recovering.get(name),
        }
    return _document(state_dir=str(state_dir), hosts=hosts, watch=watch)


def incidents_of(state_dir: Path, *, closed: bool, limit: int = 100) -> Document:
    """``{schema, at, incidents: [{id, host, alert, severity, level, opened_at, closed_at, acknowledged_at,
    acknowledged_by, next_at, run_id}]}``, newest first; without ``closed`` those that are open."""
    with open_history(state_dir) as store:
        found = incidents.listed(store, closed=closed, limit=limit)
    return _document(incidents=[_incident(one) for one in found])


def incident_of(state_dir: Path, number: int) -> Document:
    """One incident, as in :func:`incidents_of`, with ``reasons``, ``tried``, ``proposals`` (lines), ``scenario``,
    ``timeline: [{at, what}]``, ``notifications: [{at, level, channel, outcome, reason, run_id}]``, ``postmortem``
    (path, or null)."""
    with open_history(state_dir) as store:
        found = incidents.get(store, number)
        told = incidents.told(store, number) if found else []
    if found is None:
        raise Refused(msg("There is no incident {number}: list them with runbook incidents", number=number), 1)
    from ...incidents import postmortem

    data = found["data"]
    path = postmortem.path_of(found, state_dir)
    return _document(
        incident={
            **_incident(found),
            "scenario": data.get("scenario"),
            **{name: [said(one) for one in data.get(name) or []] for name in ("reasons", "tried", "proposals")},
            "timeline": [{"at": one.get("at"), "what": said(one.get("what"))} for one in data.get("timeline") or []],
            "notifications": told,
            "postmortem": str(path) if path.exists() else None,
        }
    )


def acknowledge(state_dir: Path, number: int, note: str | None) -> Document:
    """Take an incident on; ``{schema, at, incident}`` as it is then."""
    with open_history(state_dir) as store:
        try:
            found = incidents.acknowledge(store, number, runs.operator_name(), note=note)
        except incidents.IncidentError as error:
            raise Refused(error.message, 1) from error
    return _document(incident=_incident(found))


def close_breaker(state_dir: Path, host: str, procedure: str) -> Document:
    """Close a breaker by hand; ``{schema, at, host, procedure, was_open, closed_by}``."""
    by = runs.operator_name()
    with open_history(state_dir) as store:
        known = records.recovered(store)
        if (host, procedure) not in known:
            names = {"procedure": procedure, "host": host}
            text = msg(
                "no recovery by {procedure} is on record for {host}: runbook status names what there is", **names
            )
            raise Refused(text, 1)
        was_open = BreakerStore(store, host, procedure, Limits(), time.time()).close(by)
    return _document(host=host, procedure=procedure, was_open=was_open, closed_by=by)


def reports(state_dir: Path, *, host: str | None, procedure: str | None, limit: int) -> Document:
    """``{schema, at, reports: [{run_id, host, procedure, outcome, check_mode, started_at, ended_at, reports: {md, html,
    json}}]}``, newest first; a run that left none has ``{}``."""
    with open_history(state_dir) as store:
        found = store.runs(host=host, procedure=procedure, limit=limit)
    return _document(reports=[_run(one) for one in found])


def report(state_dir: Path, run_id: str, *, as_json: bool) -> str:
    """The report of one run as it was written, Markdown or JSON."""
    with open_history(state_dir) as store:
        run = records.run(store, run_id)
    if run is None:
        raise Refused(msg("there is no run {run_id} on record: runbook reports lists them", run_id=run_id), 1)
    path = (run["reports"] or {}).get("json" if as_json else "md")
    if not path:
        raise Refused(msg("the run {run_id} left no report", run_id=run_id), 1)
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(MAX_REPORT_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise Refused(msg("{path} cannot be read: {reason}", path=str(path), reason=str(error.strerror)), 1) from error
    if as_json:
        try:
            json.loads(text)
        except ValueError:
            raise Refused(msg("{path} is damaged: it is no JSON any more", path=str(path)), 1) from None
    return text


_TIMES = ("opened_at", "closed_at", "acknowledged_at")
_INCIDENT = ("id", "host", "alert", "severity", "level", *_TIMES, "acknowledged_by", "next_at", "run_id")
_RUN = ("run_id", "host", "procedure", "outcome", "check_mode", "started_at", "ended_at")


def _incident(found: Incident) -> Document:
    return {name: found.get(name) for name in _INCIDENT}


def _run(found: Document) -> Document:
    return {**{name: found.get(name) for name in _RUN}, "reports": found.get("reports") or {}}


def _window(found: Document) -> Document:
    return {name: found.get(name) for name in ("reason", "operator", "starts_at", "ends_at")}


def _without_host(found: Document) -> Document:
    return {name: value for name, value in found.items() if name != "host"}


def open_numbers(state_dir: Path) -> Iterable[tuple[int, str]]:
    """Numbers of open incidents and what they are, for completion; nothing where it cannot be told cheaply."""
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
