"""A run from its opening to its conclusion, on the controller.

A run is opened with an id, a start and a deadline; concluding it judges the steps, writes run, sample and memory into
the history, writes the report and returns the checklist. Nothing in here knows Ansible.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..core.coerce import dig
from ..core.errors import reason_of
from ..core.outcomes import CHANGED, MET, OK, SKIPPED

if TYPE_CHECKING:
    from ..core.host_results import ProbeResult
    from ..core.i18n import Translator
    from ..core.settings import Settings

RunDict = dict[str, Any]


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def operator_name() -> str:
    """Who runs this: ``OPS_OPERATOR`` (AWX and schedulers set it) before the login name."""
    named = os.environ.get("OPS_OPERATOR", "").strip()
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def budget_of(value: Any) -> float:
    """``report_budget_s`` as seconds; ``ValueError``, one line that names it, for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"report_budget_s is {value!r}: give a number of seconds in the inventory") from None


def lease_owner() -> str:
    """Who holds a lease for a run of this controller: whoever runs this, at which machine."""
    return f"{operator_name()}@{socket.gethostname()}"


def new_run_id(started: datetime) -> str:
    """An id that sorts by time and is unique among concurrent runs."""
    # Not the host package's new_id, nor secrets: 8 ms of imports for every run.
    return f"{started:%Y%m%dT%H%M%SZ}-{os.urandom(3).hex()}"


def open_run(
    *,
    procedure: str,
    host: str,
    budget_s: float,
    operator: str | None,
    check_mode: bool,
    started_at: str | None = None,
    run_id: str | None = None,
) -> RunDict:
    """Give a run its identity; ``started_at`` (ISO 8601) and ``run_id`` when it began before it was opened.

    Returns ``{run_id, procedure, host, operator, check_mode, started_at, deadline, budget_s}``; times are ISO 8601 in
    UTC. ``run_id`` sorts by time and is unique among concurrent runs.

    Raises:
        ValueError: the budget is not positive.
    """
    if budget_s <= 0:
        raise ValueError(f"report_budget_s is {budget_s}: a procedure needs a positive number of seconds")
    started = datetime.fromisoformat(started_at) if started_at else utc_now()
    return {
        "run_id": run_id or new_run_id(started),
        "procedure": procedure,
        "host": host,
        "operator": operator or operator_name(),
        "check_mode": check_mode,
        "started_at": started.isoformat(),
        "deadline": (started + timedelta(seconds=budget_s)).isoformat(),
        "budget_s": budget_s,
    }


@dataclass
class Conclusion:
    """What a concluded run leaves: its record, what to show, and what went wrong while telling."""

    record: RunDict
    checklist: str
    reports: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def met(self) -> bool:
        """Whether the expected results were met *and* recorded: what nobody can look up later was not proven."""
        return self.record["outcome"] == MET and not self.problems


def judged_by(run: RunDict) -> tuple[str, ...]:
    """Variables of the inventory that the steps of a run are judged by."""
    from ..procedures import outcome as routines

    return routines.judged(run["procedure"])


def conclude(
    run: RunDict,
    probe: ProbeResult,
    results: dict[str, dict[str, Any]],
    kept: Settings,
    *,
    facts: dict[str, Any] | None = None,
    colour: bool = False,
    width: int = 100,
    encoding: str | None = "utf-8",
) -> Conclusion:
    """Judge, record and tell.

    Args:
        run: what :func:`open_run` returned.
        probe: what was seen of the host.
        results: results of the acting steps by step id, as Ansible registered them; an empty one means not needed.
        kept: where history and reports lie, language and time zone.
        facts: the inventory's variables that steps of this procedure are judged by (``routines.judged``).
        colour, width, encoding: of the terminal.

    A history or a report that cannot be written becomes an entry in ``problems``; neither hides the checklist.

    Raises:
        ValueError: unknown locale or timezone.
    """
    from ..procedures import outcome as routines
    from ..reports import checklist

    tr = kept.translator()
    snapshot, verdict = probe.snapshot, probe.verdict
    if routines.judged(run["procedure"]):
        facts = {**(facts or {}), "planned_restart_at": _planned_restart(run["host"], snapshot, kept)}
    steps, outcome = routines.conclude(run["procedure"], snapshot, verdict, results, facts)
    record: RunDict = {
        **run,
        "ended_at": utc_now().isoformat(),
        "steps": steps,
        "verdict_before": _verdict_before(results) or verdict,
        "verdict_after": verdict,
        "outcome": probe.outcome or outcome,
        "failure": probe.failure,
        "escalated_to": (results.get("escalation") or {}).get("escalated_to"),
        "previous_run": None,
    }
    told = _Told(record, snapshot, verdict, None if run["check_mode"] else probe.memory, tr)
    try:
        told.into_history(kept)
    except OSError as error:
        record["previous_unknown"] = record["previous_run"] is None
        reason = tr.message(reason_of(told.put_aside(kept, error)))
        told.problems.append(tr.t("The history could not be written: {reason}", reason=reason))
        told.report(kept)
    shown = checklist.render(told.view, tr, reports=told.reports, colour=colour, width=width, encoding=encoding)
    return Conclusion(record, shown, told.reports, told.problems)


def _verdict_before(results: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The verdict that a procedure acted upon, where one did: then the probe's is the one after."""
    seen = (result.get("before") for result in results.values())
    return next((before["verdict"] for before in seen if isinstance(before, dict) and before.get("verdict")), None)


def _planned_restart(host: str, snapshot: Mapping[str, Any] | None, kept: Settings) -> str | None:
    """When the application was last restarted by us; ``None`` as well when the history can't be asked."""
    from ..history import access

    try:
        with access.open_history(kept.state_dir, kept.history_url) as store:
            return store.last_planned_restart(host, str(dig(snapshot, "pm2", "app", "name") or ""))
    except OSError:
        return None  # recording the run says why


@dataclass
class _Told:
    """Writes what a run leaves. The history knows where the report lies, and the report names the run before."""

    record: RunDict
    snapshot: Mapping[str, Any] | None
    verdict: Mapping[str, Any] | None
    memory: Mapping[str, Any] | None
    tr: Translator
    view: dict[str, Any] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def into_history(self, kept: Settings) -> None:
        from ..history import access, rows
        from ..procedures import outcome as routines

        with access.open_history(kept.state_dir, kept.history_url) as store:
            previous = store.last_run(self.record["host"], self.record["procedure"])
            self.record["previous_run"] = rows.name_of_run(previous)
            days = routines.named(self.record["procedure"]).period_days
            if days:
                since = datetime.fromisoformat(self.record["started_at"]) - timedelta(days=days)
                self.record["period"] = store.tally(self.record["host"], since.isoformat())
                self.record["sla_report"] = _sla_report(kept, self.record["host"], days)
            self.report(kept)
            for planned in planned_restarts(self.record):
                store.own_restarts(self.record["host"], planned["app"], planned["counts"], run_id=self.record["run_id"])
            store.conclude(self.record, self.snapshot, self.verdict, self.memory)

    def put_aside(self, kept: Settings, error: OSError) -> OSError:
        """Keep the run's sample until the history can be written; ``error``, and where the sample is."""
        if self.snapshot is None:
            return error
        from ..history import rows, spool

        run = self.record
        row = rows.sample_row(run["host"], self.snapshot, self.verdict, run["procedure"], run["run_id"])
        return spool.keep(kept.state_dir, [row], error)

    def report(self, kept: Settings) -> None:
        from ..reports import view
        from ..reports import writer as report

        if self.reports:
            return
        self.view = view.build(self.record, self.snapshot, self.verdict, self.tr)
        try:
            self.reports = report.write(self.view, reports_dir=kept.state_dir / "reports", tr=self.tr)
        except OSError as error:
            self.problems.append(self.tr.t("The report could not be written: {reason}", reason=str(error)))
        self.record["reports"] = self.reports


def _sla_report(kept: Settings, host: str, days: float) -> str | None:
    """The newest report of service levels of a routine's period, which lies beside its own; ``None`` where none was."""
    from ..core.files import safe_name

    directory = kept.state_dir / "reports" / safe_name(host)
    names = [f"latest-sla-{kind}.html" for kind in (("week", "month") if days <= 7 else ("month",))]
    return next((name for name in names if (directory / name).exists()), None)


def planned_restarts(record: RunDict) -> list[dict[str, Any]]:
    """Restarts that the steps of a run say were theirs: ``{app, counts}``, counts by PM2's id of the worker."""
    found: dict[str, dict[str, int]] = {}
    for step in record["steps"]:
        evidence = step.get("evidence") or {}
        counts = evidence.get("planned_restarts")
        if isinstance(counts, dict) and counts:
            total = found.setdefault(str(evidence.get("app", "")), {})
            for worker, count in counts.items():
                total[str(worker)] = total.get(str(worker), 0) + int(count)
    return [{"app": app, "counts": counts} for app, counts in found.items()]


def failure_messages(conclusion: Conclusion) -> list[Message]:
    """Return why a run failed: what was not met, what could not be recorded, and the path of its report."""
    from ..reports.labels import OUTCOME_WORDS

    record = conclusion.record
    outcome = OUTCOME_WORDS[record["outcome"]]
    messages = [
        msg("{procedure} on {host}: {outcome}", procedure=record["procedure"], host=record["host"], outcome=outcome)
    ]
    missed = [step["id"] for step in record["steps"] if step["status"] not in (OK, CHANGED, SKIPPED)]
    if missed:
        messages.append(msg("steps: {steps}", steps=", ".join(missed)))
    messages += [{"text": problem, "args": {}} for problem in conclusion.problems]
    if conclusion.reports.get("md"):
        messages.append(msg("report: {path}", path=conclusion.reports["md"]))
    return messages


def preload() -> None:
    """Import and compile what :func:`conclude` and the judging of an observation need."""
    from orquestrador.health import evaluate as judge  # noqa: F401

    from ..core import i18n
    from ..history import access
    from ..procedures import outcome as routines  # noqa: F401
    from ..reports import checklist  # noqa: F401
    from ..reports import writer as report

    access.warm()
    report.warm(i18n.translator())
