"""What checklist and report show of a run: words in the operator's language, ready to be laid out.

Built once from the run record, the snapshot and the verdict; the layouts know nothing of those. Every string of a
view is one line of printable text, whatever a log or a process name contained.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.coerce import items, mapping, mappings
from ..core.i18n import Translator, parse_time
from ..core.text import clean
from ..procedures import outcome as routines
from ..procedures.catalog import EMERGENCIES, title_of
from . import labels

SCHEMA = 1
PROJECT = Path(__file__).resolve().parents[2]


def build(
    record: Mapping[str, Any],
    snapshot: Mapping[str, Any] | None,
    verdict: Mapping[str, Any] | None,
    tr: Translator,
) -> dict[str, Any]:
    """View data of a run.

    ``{schema, lang, title, host, procedure, procedure_title, run_id, check_mode, overall, outcome, failure, started,
    since, summary, facts: [{label, value}], steps: [...], findings: [{collector, code, text, hint}], call, reasons,
    sections, evidence, tables, data}``. A status is ``{status, tone, symbol, word}``; ``call`` is the procedure that is
    called for, ``{procedure, title, command}``, or ``None``; a table is ``{id, title, columns, rows}``; sections and
    evidence are blocks (:func:`orquestrador_ops.reports.evidence.block`); ``data`` carries the three arguments for the
    machine-readable report. Parts that are missing or misshapen are left out, never an error.
    """
    return _View(record, snapshot, verdict, tr).all()


class _View:
    def __init__(
        self,
        record: Mapping[str, Any],
        snapshot: Mapping[str, Any] | None,
        verdict: Mapping[str, Any] | None,
        tr: Translator,
    ) -> None:
        self.record, self.tr = record, tr
        self.snapshot: Mapping[str, Any] = mapping(snapshot)
        self.verdict: Mapping[str, Any] = mapping(verdict)
        self.data = {"record": record, "snapshot": snapshot, "verdict": verdict}
        self.checks = {str(check.get("id")): check for check in mappings(self.verdict.get("checks"))}

    def all(self) -> dict[str, Any]:
        record, tr = self.record, self.tr
        procedure, host = str(record.get("procedure")), clean(record.get("host"))
        name = self.words(title_of(procedure))
        steps = [self.step(number, step) for number, step in enumerate(mappings(record.get("steps")), 1)]
        good = sum(step["tone"] == "good" for step in steps)
        return {
            "schema": SCHEMA,
            "lang": tr.tag,
            "title": clean(tr.t("{procedure} on {host}", procedure=name, host=host)),
            "host": host,
            "procedure": clean(procedure),
            "procedure_title": name,
            "run_id": clean(record.get("run_id")),
            "check_mode": bool(record.get("check_mode")),
            "overall": self.overall(procedure),
            "outcome": self.status(str(record.get("outcome") or "error"), labels.OUTCOME_WORDS),
            "failure": self.words(record.get("failure") or record.get("message")),
            "started": tr.time(record.get("started_at")) if record.get("started_at") else "",
            "since": self.since(),
            "observed": bool(self.snapshot) or not routines.observes(procedure),
            "summary": clean(tr.t("{good} of {total} steps as expected", good=good, total=len(steps))),
            "facts": self.facts(),
            "steps": steps,
            "budgeted": any(step["budget"] for step in steps),
            "findings": [self.finding(finding) for finding in mappings(self.snapshot.get("errors"))],
            "call": self.call(),
            "reasons": [self.words(reason) for reason in items(self.verdict.get("reasons"))],
            "sections": self.sections(procedure, steps),
            "evidence": self.evidence(steps),
            "tables": [table for table in self.tables() if table["rows"]],
            "data": self.data,
        }

    def overall(self, procedure: str) -> dict[str, str]:
        if routines.observes(procedure):
            return self.status(str(self.verdict.get("overall") or "unknown"), labels.OVERALL_WORDS)
        statuses = [str(step.get("status")) for step in mappings(self.record.get("steps"))]
        known = [status for status in statuses if status in labels.STEP_WORDS]
        return self.status(routines.worst(known) if known else "unknown", labels.STEP_WORDS)

    def words(self, message: Any) -> str:
        several = message if isinstance(message, list) else [message]
        return clean("; ".join(self.tr.message(one) for one in several))

    def status(self, status: str, words: Mapping[str, Any]) -> dict[str, str]:
        tone = labels.TONES.get(status, "unknown")
        return {
            "status": clean(status),
            "tone": tone,
            "symbol": labels.SYMBOLS[tone],
            "word": self.words(words.get(status, words.get("unknown", status))),
        }

    def step(self, number: int, step: Mapping[str, Any]) -> dict[str, Any]:
        status = str(step.get("status"))
        shown = self.status(status, labels.STEP_WORDS)
        if status == "changed" and self.record.get("check_mode"):
            shown["word"] = self.tr.t("WOULD CHANGE")
        return {
            **shown,
            "number": number,
            "id": clean(step.get("id")),
            "title": self.words(step.get("title")),
            "note": self.words(step.get("note")),
            "took": self.took(step),
            "budget": self.budget(step),
            "source": clean(step.get("source") or ""),
            # Without a verdict there is one thing to say, and it is not said fifteen times.
            "checks": [self.check(str(check)) for check in items(step.get("checks"))] if self.checks else [],
        }

    def check(self, name: str) -> dict[str, Any]:
        check = self.checks.get(name)
        if check is None:
            return {
                **self.status("unknown", labels.CHECK_WORDS),
                "id": clean(name),
                "title": clean(name),
                "observed": self.tr.t("not observed"),
                "expected": "",
                "hint": "",
                "source": "",
            }
        return {
            **self.status(str(check.get("status")), labels.CHECK_WORDS),
            "id": clean(name),
            "title": self.words(check.get("title")),
            "observed": self.words(check.get("observed")),
            "expected": self.words(check.get("expected")),
            "hint": self.words(check.get("hint")) if check.get("status") != "ok" else "",
            "source": clean(check.get("source") or ""),
        }

    def finding(self, finding: Mapping[str, Any]) -> dict[str, str]:
        collector = str(finding.get("collector"))
        return {
            "collector": self.words(labels.COLLECTORS.get(collector, collector)),
            "code": clean(finding.get("code")),
            "text": self.words(finding.get("message")),
            "hint": self.words(finding.get("hint")),
        }

    def since(self) -> str:
        tr, previous = self.tr, mapping(self.record.get("previous_run"))
        if self.record.get("previous_unknown"):
            return tr.t("The history does not answer: when this routine last ran is not known.")
        if not previous:
            return tr.t("No earlier run of this routine on this host is on record.")
        outcome = self.status(str(previous.get("outcome")), labels.OUTCOME_WORDS)["word"]
        return clean(
            tr.t(
                "Since the last run of this routine: {started_at} ({outcome})",
                started_at=previous.get("started_at"),
                outcome=outcome,
            )
        )

    def call(self) -> dict[str, str] | None:
        procedure = str(self.verdict.get("procedure") or "none")
        if procedure not in EMERGENCIES:
            return None
        playbook = EMERGENCIES[procedure].playbook
        target = shlex.quote(f"target={clean(self.record.get('host'))}")
        return {
            "procedure": procedure,
            "title": self.words(title_of(procedure)),
            # Nobody is sent to a playbook that this checkout does not have.
            "command": f"ansible-playbook {playbook} -e {target}" if (PROJECT / playbook).is_file() else "",
        }

    def facts(self) -> list[dict[str, str]]:
        record, tr = self.record, self.tr
        facts = [
            (tr.t("Host"), record.get("host")),
            (tr.t("Operator"), record.get("operator")),
            (tr.t("Started"), tr.time(record.get("started_at")) if record.get("started_at") else ""),
            (tr.t("Duration"), self.duration()),
            (tr.t("Time zone"), tr.zone_name()),
            (tr.t("Run"), record.get("run_id")),
        ]
        if record.get("check_mode"):
            facts.append((tr.t("Mode"), tr.t("check mode: nothing was changed")))
        if record.get("escalated_to"):
            facts.append((tr.t("Escalated to"), record.get("escalated_to")))
        if record.get("sla_report"):
            facts.append((tr.t("Report of service levels"), record.get("sla_report")))
        return [{"label": label, "value": clean(value)} for label, value in facts if value]

    def duration(self) -> str:
        took, budget = self.took(self.record), self.record.get("budget_s")
        if not took or not isinstance(budget, int | float):
            return took
        return self.tr.t("{took} of {budget_s} allowed", took=took, budget_s=budget)

    def budget(self, step: Mapping[str, Any]) -> str:
        """What a step used of the time that was planned for it; empty for a step without a plan."""
        used, planned = step.get("used_s"), step.get("planned_s")
        if not isinstance(used, int | float) or not isinstance(planned, int | float):
            return ""
        return self.tr.t("{used_s} of {planned_s}", used_s=used, planned_s=planned)

    def took(self, timed: Mapping[str, Any]) -> str:
        start, end = parse_time(timed.get("started_at")), parse_time(timed.get("ended_at"))
        return "" if start is None or end is None else self.tr.seconds((end - start).total_seconds())

    # ------------------------------------------------------------------ blocks

    def sections(self, procedure: str, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if procedure != "monthly" or not self.snapshot:
            return []
        from . import monthly as sections

        return sections.monthly(self.record, self.snapshot, self.verdict, steps, self.tr)

    def evidence(self, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        left = mappings(self.record.get("steps"))
        if not any(mapping(step.get("evidence")) for step in left):
            return []
        from . import evidence

        return evidence.blocks(left, [f"{step['number']}. {step['title']}" for step in steps], self.tr)

    # ------------------------------------------------------------------ tables

    def tables(self) -> list[dict[str, Any]]:
        return [self.events(), self.processes(), self.queries(), self.disks(), self.files()]

    def table(self, name: str, title: str, columns: list[str], rows: list[list[Any]]) -> dict[str, Any]:
        shown = [[self.tr.t("unknown") if cell is None else clean(cell) for cell in row] for row in rows]
        return {"id": name, "title": title, "columns": columns, "rows": shown}

    def unit(self, row: Mapping[str, Any], name: str) -> str:
        return self.tr.value(name, row.get(name))

    def events(self) -> dict[str, Any]:
        tr = self.tr
        rows = [
            [row.get("count"), tr.value("", bool(row.get("new"))), self.unit(row, "last_at"), row.get("sample")]
            for row in mappings(mapping(self.snapshot.get("logs")).get("fingerprints"))
        ]
        return self.table(
            "events", tr.t("Error events"), [tr.t("Count"), tr.t("New"), tr.t("Last"), tr.t("Sample")], rows
        )

    def processes(self) -> dict[str, Any]:
        tr = self.tr
        rows = [
            [
                row.get("name"),
                row.get("pid"),
                row.get("status"),
                row.get("restarts"),
                self.unit(row, "uptime_s"),
                self.unit(row, "memory_bytes"),
                self.unit(row, "cpu_percent"),
            ]
            for row in mappings(mapping(self.snapshot.get("pm2")).get("processes"))
        ]
        columns = [tr.t("Name"), "PID", tr.t("Status"), tr.t("Restarts"), tr.t("Uptime"), tr.t("Memory"), "CPU"]
        return self.table("processes", tr.t("PM2 processes"), columns, rows)

    def queries(self) -> dict[str, Any]:
        tr = self.tr
        rows = [
            [self.unit(row, "seconds_s") if "seconds_s" in row else self.tr.value("_s", row.get("seconds"))]
            + [row.get(name) for name in ("user", "state", "query")]
            for row in mappings(mapping(self.snapshot.get("database")).get("slow"))
        ]
        return self.table(
            "queries", tr.t("Long-running queries"), [tr.t("Time"), tr.t("User"), tr.t("State"), tr.t("Query")], rows
        )

    def disks(self) -> dict[str, Any]:
        tr = self.tr
        rows = [
            [
                row.get("path"),
                self.unit(row, "free_bytes"),
                self.unit(row, "total_bytes"),
                self.unit(row, "used_percent"),
                self.unit(row, "inodes_used_percent"),
            ]
            for row in mappings(mapping(self.snapshot.get("resources")).get("disk"))
        ]
        columns = [tr.t("Path"), tr.t("Free"), tr.t("Size"), tr.t("Used"), tr.t("Inodes used")]
        return self.table("disks", tr.t("Disks"), columns, rows)

    def files(self) -> dict[str, Any]:
        tr = self.tr
        rows = [
            [
                row.get("name"),
                tr.value("", bool(row.get("exists"))),
                tr.value("", bool(row.get("current"))),
                self.unit(mapping(row.get("copy")), "taken_at") if row.get("copy") else "–",
            ]
            for row in mappings(mapping(self.snapshot.get("files")).get("files"))
        ]
        columns = [tr.t("File"), tr.t("Exists"), tr.t("Copy is current"), tr.t("Newest copy")]
        return self.table("files", tr.t("Critical files when the run began"), columns, rows)
