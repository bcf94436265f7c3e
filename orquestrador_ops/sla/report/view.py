"""View of a report of service levels: the document's figures in the words of a language, ready for the templates.

Templates do not read the document. Every string is one line of printable text, whatever a host or the reason of a
maintenance window contains; charts are SVG (:mod:`.charts`).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg

from ...core.i18n import Translator, epoch
from ...core.text import clean
from ...procedures.catalog import title_of
from . import calendar, chart_data, checklist
from .cards import SYMBOLS, VERDICTS, mapping, number
from .context import Doc, ReportContext, mappings

if TYPE_CHECKING:
    from ..data.facts import Facts


MAX_COPIES = 100  # listed one by one

_TICKS: Mapping[str, tuple[str, str, Any]] = {
    "done": ("good", "✔", msg("done")),
    "partly": ("warn", "◐", msg("partly")),
    "failed": ("bad", "✘", msg("failed")),
    "open": ("open", "☐", msg("open: no run proves it")),
}
_METRICS: Mapping[str, tuple[str, Any]] = {
    "met": ("good", msg("met")),
    "missed": ("bad", msg("missed")),
    "unknown": ("unknown", msg("unknown")),
}
CADENCES: Mapping[str, Any] = {
    "daily": msg("Daily"),
    "weekly": msg("Weekly"),
    "monthly": msg("Monthly"),
    "quarterly": msg("Quarterly"),
}
_UNITS: Mapping[str, Any] = {
    "daily": msg("{met} of {total} day(s)"),
    "weekly": msg("{met} of {total} week(s)"),
    "monthly": msg("{met} of {total} month(s)"),
    "quarterly": msg("{met} of {total} quarter(s)"),
}
TITLES: Mapping[str, Any] = {
    "day": msg("Daily report of service levels"),
    "week": msg("Weekly report of service levels"),
    "month": msg("Monthly report of service levels"),
    "quarter": msg("Quarterly report of service levels"),
    "year": msg("Yearly report of service levels"),
    "range": msg("Report of service levels"),
}


def build(document: Doc, tr: Translator, facts: Facts | None = None) -> dict[str, Any]:
    """Return the view of one host and period; raises ``ValueError`` for a document without a period.

    ``facts`` adds runs, for the checklist and the times of backups, and timelines.
    """
    return _ReportView(document, tr, facts).all()


def cell(text: object, tone: str = "") -> dict[str, str]:
    """Return one cell of a table."""
    return {"text": clean(text), "tone": tone}


def symbol_cell(symbol: str, text: str, tone: str) -> dict[str, str]:
    """Return a cell with a symbol, which works without colour."""
    return cell(f"{symbol} {text}", tone)


class _ReportView(ReportContext):
    def all(self) -> dict[str, Any]:
        tr = self.tr
        name = clean(self.wording.period(self.dates))
        kind = tr.message(TITLES[self.dates.kind])
        host = clean(self.document.get("host"), 255)
        drawn = chart_data.ChartData(self).all()
        return {
            "lang": tr.tag,
            "title": clean(f"{kind}: {host}, {name}"),
            "kind": kind,
            "host": host,
            "name": name,
            "overall": self.overall(),
            "facts": self.header(),
            "slas": [self.cards.card(sla) for sla in self.slas],
            # A single day is shown by its strip.
            "calendar": None
            if drawn["strip"] and self.dates.days == 1
            else calendar.build(self.days, self.dates, self.wording),
            "pictures": drawn,
            "incidents": self.incidents(),
            "burn": self.burn(),
            "copies": self.copies(),
            "metrics": self.metrics(),
            "checklist": self.checklist(),
            "maintenance": self.maintenance(),
            "days": self.by_day(),
            "resolution": self.resolution(),
        }

    # ------------------------------------------------------------------ the whole

    def overall(self) -> dict[str, str]:
        tr, verdicts = self.tr, [str(sla.get("verdict")) for sla in self.slas]
        met, total = verdicts.count("met"), len(verdicts)
        verdict = next(
            (name for name in ("missed", "unproven", "no_data") if name in verdicts), "met" if met else "no_data"
        )
        if verdict == "no_data" and met:
            verdict = "unproven"
        tone, title = VERDICTS[verdict]
        if met == total and total:
            text = tr.t("All {total} service levels were met.", total=total)
        elif all(name == "no_data" for name in verdicts):
            text = tr.t("Nothing was measured in this period.")
        else:
            text = tr.t("{met} of {total} service levels were met.", met=met, total=total)
        missed = [tr.message(sla.get("title")) for sla in self.slas if sla.get("verdict") == "missed"]
        if missed:
            text += " " + tr.t("Missed: {names}.", names=", ".join(missed))
        return {"tone": tone, "symbol": SYMBOLS[tone], "word": tr.message(title), "text": clean(text)}

    def header(self) -> list[dict[str, str]]:
        tr, wording = self.tr, self.wording
        seconds = mapping(self.document.get("seconds"))
        seconds_by_state = [seconds.get(name) for name in ("up", "down", "planned_down", "unknown")]
        rows = [
            (tr.t("Host"), self.document.get("host")),
            (tr.t("From"), tr.time(self.period.get("from"))),
            (tr.t("To"), tr.time(self.period.get("to"))),
        ]
        if not self.period.get("over"):
            rows.append((tr.t("Known until"), tr.t("{until_at} (not over yet)", until_at=self.period.get("until"))))
        rows.append((tr.t("Time zone"), tr.zone_name()))
        if all(isinstance(value, int | float) for value in seconds_by_state):
            up, down, planned, unknown = seconds_by_state
            rows += [
                (tr.t("Up"), wording.seconds(up)),
                (tr.t("Down, unplanned"), wording.seconds(down)),
                (tr.t("Down, planned"), wording.seconds(planned)),
                (tr.t("Unknown: no probe"), wording.seconds(unknown)),
            ]
        rows.append((tr.t("Evaluated"), tr.time(self.document.get("evaluated_at"))))
        return [{"label": label, "value": clean(value)} for label, value in rows]

    def resolution(self) -> str:
        seconds = self.document.get("resolution_s")
        if not isinstance(seconds, int | float) or seconds <= 0:
            return ""
        rough = {"resolution_s": seconds}
        t = self.tr.t
        return clean(
            t("Older samples are rolled up: latencies are known by {resolution_s}, times stay exact.", **rough)
        )

    # ------------------------------------------------------------------ tables

    def table(self, name: str, title: str, columns: list[str], rows: list[Any], empty: str) -> dict[str, Any]:
        return {"id": name, "title": title, "columns": columns, "rows": rows, "empty": empty}

    def incidents(self) -> dict[str, Any]:
        t = self.tr.t
        goal = next((number(sla.get("objective")) for sla in self.slas if sla.get("id") == "recovery"), None)
        objective = t("Objective") if goal is None else t("Objective: {goal_s}", goal_s=goal)
        delays = [t("Detected after"), t("Acknowledged after"), t("Acted after")]
        columns = [t("Began"), t("Recovered"), t("Took"), objective, *delays, t("Procedure")]
        rows = [self.incident(row, goal) for row in mappings(self.document.get("incidents"))]
        return self.table("incidents", t("Incidents"), columns, rows, t("No incident in this period."))

    def incident(self, row: Doc, goal: float | None) -> list[dict[str, str]]:
        tr, wording = self.tr, self.wording
        took, worst = number(row.get("seconds")), number(row.get("worst_seconds"))
        text = wording.seconds(took)
        if took is not None and worst is not None and worst > took + 0.5:
            text = tr.t("{at_least} to {at_most}", at_least=text, at_most=wording.seconds(worst))
        procedure = row.get("procedure")
        return [
            cell(tr.time(row.get("from")), "when"),
            cell(tr.time(row.get("to")) if row.get("to") else tr.t("not yet"), "when"),
            cell(text, "when"),
            self.in_time(row, goal),
            *[cell(self.delay(row, name), "when") for name in ("detected_at", "acknowledged_at", "acted_at")],
            cell(tr.message(title_of(str(procedure))) if procedure else ""),
        ]

    def in_time(self, row: Doc, goal: float | None) -> dict[str, str]:
        """Return whether the unplanned part of an incident was over in time."""
        tr = self.tr
        took, most = number(row.get("unplanned_seconds", row.get("seconds"))), number(row.get("worst_seconds"))
        if row.get("planned"):
            return symbol_cell("P", tr.t("planned"), "planned")
        if took is None or goal is None:
            return cell("–")
        if took > goal:
            return symbol_cell("✘", tr.t("too long"), "bad")
        if not row.get("to") or most is None or most > goal:
            return symbol_cell("?", tr.t("not known"), "unknown")
        return symbol_cell("✔", tr.t("in time"), "good")

    def delay(self, row: Doc, name: str) -> str:
        started_at, at = epoch(row.get("from")), epoch(row.get(name))
        return "" if started_at is None or at is None else self.wording.seconds(max(at - started_at, 0.0))

    def burn(self) -> dict[str, Any]:
        """Return the burn rates of the document."""
        tr = self.tr
        rows = []
        for rate in mappings(self.document.get("burn")):
            rates = [number(rate.get(name)) for name in ("long_burn", "short_burn", "factor")]
            times = ["" if value is None else f"{tr.number(value, 2)}×" for value in rates]
            windows = [tr.value("_s", rate.get(name)) for name in ("long_s", "short_s")]
            firing = bool(rate.get("firing"))
            result = ("✘", tr.t("burns too fast"), "bad") if firing else ("✔", tr.t("quiet"), "good")
            rows.append([*map(cell, (rate.get("name"), " / ".join(windows), *times)), symbol_cell(*result)])
        t = tr.t
        columns = [t("Alert"), t("Windows"), t("Long window"), t("Short window"), t("Limit"), t("State")]
        return self.table("burn", t("Burn rate of the error budget"), columns, rows, "")

    def copies(self) -> dict[str, Any]:
        """Return a row for each kind of backup and restore, and in ``each`` one for every single one, newest first."""
        tr, wording = self.tr, self.wording
        entries = checklist.copies(self.runs)
        kinds: dict[str, list[dict[str, Any]]] = {}
        for entry in entries:
            kinds.setdefault(tr.message(entry["title"]), []).append(entry)
        rows = []
        for title, several in kinds.items():
            failed = sum(entry["status"] == "failed" for entry in several)
            durations = [entry["seconds"] for entry in several if entry["seconds"] is not None]
            last = several[-1]
            row = [
                cell(title),
                cell(wording.count(len(several))),
                cell(f"✘ {failed}" if failed else "✔ 0", "bad" if failed else "good"),
                cell(tr.time(last["at"]), "when"),
                cell(tr.seconds(statistics.median(durations)) if durations else ""),
                cell(tr.seconds(max(durations)) if durations else ""),
                cell(tr.bytes(last["bytes"]) if last["bytes"] is not None else ""),
            ]
            rows.append(row)
        t = tr.t
        figures = [t("Took, median"), t("Took, longest"), t("Size of the last")]
        columns = [t("What"), t("Count"), t("Failed"), t("Last"), *figures]
        empty = t("No run of this period backed up or restored anything.")
        each = {
            "columns": [t("When"), t("What"), t("Result"), t("Took"), t("Application stopped for")],
            "rows": [self.copy(entry) for entry in reversed(entries[-MAX_COPIES:])],
        }
        return {**self.table("copies", t("Backups and restores"), columns, rows, empty), "each": each}

    def copy(self, row: Mapping[str, Any]) -> list[str]:
        tr = self.tr
        _, symbol, title = _TICKS[row["status"]]
        times = [tr.seconds(row[name]) if row[name] is not None else "–" for name in ("seconds", "stopped_s")]
        return [tr.time(row["at"]), tr.message(row["title"]), f"{symbol} {tr.message(title)}", *times]

    def maintenance(self) -> dict[str, Any]:
        tr = self.tr
        rows = [
            [*(cell(tr.time(row.get(name)), "when") for name in ("from", "to")), cell(row.get("reason") or "")]
            for row in mappings(self.document.get("maintenance"))
        ]
        columns = [tr.t("From"), tr.t("To"), tr.t("Reason")]
        return self.table("maintenance", tr.t("Maintenance windows"), columns, rows, "")

    def by_day(self) -> dict[str, Any]:
        t, wording = self.tr.t, self.wording
        times = {"down": t("Down, unplanned"), "planned_down": t("Down, planned"), "unknown": t("Unknown")}
        percentiles = ("p50", "p95", "p99")
        rows = []
        for day in self.days:
            date = calendar.date_of(day)
            up, down = number(day.get("up_s")) or 0.0, number(day.get("down_s")) or 0.0
            latencies = [number(day.get(f"{name}_ms")) for name in percentiles]
            row = [
                wording.day(date, "yMMMd") if date else day.get("date"),
                wording.share(up / (up + down)) if up + down > 0 else "–",
                *(wording.seconds(number(day.get(f"{name}_s")) or 0) for name in times),
                *("–" if value is None else self.tr.value("_ms", value) for value in latencies),
                wording.minutes(day.get("budget_remaining_minutes")),
            ]
            rows.append([cell(text) for text in row])
        columns = [t("Day"), t("Uptime"), *times.values(), *percentiles, t("Budget left")]
        return self.table("by-day", t("Figures of each day"), columns, rows, t("No day of this period has begun."))

    # ------------------------------------------------------------------ lists

    def metrics(self) -> list[dict[str, Any]]:
        tr = self.tr
        groups = []
        for cadence, items in mapping(self.document.get("metrics")).items():
            rows = []
            for item in mappings(items):
                tone, title = _METRICS.get(str(item.get("status")), _METRICS["unknown"])
                subject, note = item.get("title") or item.get("id"), item.get("observed")
                rows.append(self.list_row(subject, tone, SYMBOLS[tone], title, tr.message(note)))
            # A day is no evidence for its month.
            if rows and self.dates.days >= checklist.SHORTEST.get(str(cadence), 0):
                subject = clean(tr.message(CADENCES.get(str(cadence), cadence)))
                groups.append({"title": subject, "items": rows})
        return groups

    def checklist(self) -> list[dict[str, Any]]:
        tr, zone = self.tr, self.tr.zone
        elapsed = sum(1 for day in self.days if (epoch(day.get("to")) or self.end + 1) <= self._midnight())
        evaluated = checklist.checklist(self.runs, self.document, days=self.dates.days, elapsed=elapsed, zone=zone)
        groups = []
        for group in evaluated:
            rows, unit = [], _UNITS[group["cadence"]]
            for item in group["items"]:
                tone, symbol, title = _TICKS[item["status"]]
                note = []
                if item["done"]:
                    counts = {"met": min(item["done"], item["due"]), "total": item["due"]}
                    note.append(tr.message({**unit, "args": counts}))
                if item["at"] is not None:
                    last = datetime.fromtimestamp(item["at"], zone).date()
                    note.append(tr.t("last: {date}", date=self.wording.day(last)))
                row = self.list_row(item["title"], tone, symbol, title, ", ".join(note))
                rows.append({**row, "ticked": item["status"] == "done"})
            groups.append({"title": tr.message(CADENCES[group["cadence"]]), "items": rows})
        return groups

    def list_row(self, title: object, tone: str, symbol: str, label: object, note: str) -> dict[str, Any]:
        """Return a row of a list: title, result and note."""
        texts = {"title": clean(self.tr.message(title)), "word": self.tr.message(label), "note": clean(note)}
        return {"tone": tone, "symbol": symbol, **texts}

    def _midnight(self) -> float:
        """Return the end of the last full day: the local midnight at or before ``until``, or the period's own end."""
        if self.until >= self.end:
            return self.end
        moment = datetime.fromtimestamp(self.until, self.tr.zone)
        return moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp()
