"""What a report of service levels shows: the document put into the words of a language, ready to be laid out.

Layouts know nothing of the document. Every string is one line of printable text, whatever a host or the reason of a
maintenance window contains; charts are SVG (:mod:`.charts`) and stand where a layout has pictures.
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
from . import calendar, excellence, pictures
from .context import Doc, ReportContext, mappings
from .levels import SYMBOLS, VERDICTS, mapping, number

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
    """View data of one host and period; raises ``ValueError`` for a document without a period.

    ``facts`` adds what only the store knows: runs, for the checklist and the times of backups, and timelines.
    """
    return _Sheet(document, tr, facts).all()


def cell(text: object, tone: str = "") -> dict[str, str]:
    """One cell of a table."""
    return {"text": clean(text), "tone": tone}


def signed(sign: str, word: str, tone: str) -> dict[str, str]:
    """A cell whose sign says what its colour says."""
    return cell(f"{sign} {word}", tone)


class _Sheet(ReportContext):
    def all(self) -> dict[str, Any]:
        tr = self.tr
        name = clean(self.words.period(self.stretch))
        kind = tr.message(TITLES[self.stretch.kind])
        host = clean(self.document.get("host"), 255)
        drawn = pictures.Pictures(self).all()
        return {
            "lang": tr.tag,
            "title": clean(f"{kind}: {host}, {name}"),
            "kind": kind,
            "host": host,
            "name": name,
            "overall": self.overall(),
            "facts": self.frame(),
            "slas": [self.levels.card(sla) for sla in self.slas],
            # A single day is its strip.
            "calendar": None
            if drawn["strip"] and self.stretch.days == 1
            else calendar.build(self.days, self.stretch, self.words),
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
            (one for one in ("missed", "unproven", "no_data") if one in verdicts), "met" if met else "no_data"
        )
        if verdict == "no_data" and met:
            verdict = "unproven"
        tone, word = VERDICTS[verdict]
        if met == total and total:
            text = tr.t("All {total} service levels were met.", total=total)
        elif all(one == "no_data" for one in verdicts):
            text = tr.t("Nothing was measured in this period.")
        else:
            text = tr.t("{met} of {total} service levels were met.", met=met, total=total)
        missed = [tr.message(sla.get("title")) for sla in self.slas if sla.get("verdict") == "missed"]
        if missed:
            text += " " + tr.t("Missed: {names}.", names=", ".join(missed))
        return {"tone": tone, "symbol": SYMBOLS[tone], "word": tr.message(word), "text": clean(text)}

    def frame(self) -> list[dict[str, str]]:
        tr, words = self.tr, self.words
        seconds = mapping(self.document.get("seconds"))
        known = [seconds.get(name) for name in ("up", "down", "planned_down", "unknown")]
        rows = [
            (tr.t("Host"), self.document.get("host")),
            (tr.t("From"), tr.time(self.period.get("from"))),
            (tr.t("To"), tr.time(self.period.get("to"))),
        ]
        if not self.period.get("over"):
            rows.append((tr.t("Known until"), tr.t("{until_at} (not over yet)", until_at=self.period.get("until"))))
        rows.append((tr.t("Time zone"), tr.zone_name()))
        if all(isinstance(value, int | float) for value in known):
            up, down, planned, unknown = known
            rows += [
                (tr.t("Up"), words.seconds(up)),
                (tr.t("Down, unplanned"), words.seconds(down)),
                (tr.t("Down, planned"), words.seconds(planned)),
                (tr.t("Unknown: nobody looked"), words.seconds(unknown)),
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
        wanted = t("Objective") if goal is None else t("Objective: {goal_s}", goal_s=goal)
        after = [t("Detected after"), t("Acknowledged after"), t("Acted after")]
        columns = [t("Began"), t("Recovered"), t("Took"), wanted, *after, t("Procedure")]
        rows = [self.incident(row, goal) for row in mappings(self.document.get("incidents"))]
        return self.table("incidents", t("Incidents"), columns, rows, t("No incident in this period."))

    def incident(self, row: Doc, goal: float | None) -> list[dict[str, str]]:
        tr, words = self.tr, self.words
        took, worst = number(row.get("seconds")), number(row.get("worst_seconds"))
        text = words.seconds(took)
        if took is not None and worst is not None and worst > took + 0.5:
            text = tr.t("{at_least} to {at_most}", at_least=text, at_most=words.seconds(worst))
        procedure = row.get("procedure")
        return [
            cell(tr.time(row.get("from")), "when"),
            cell(tr.time(row.get("to")) if row.get("to") else tr.t("not yet"), "when"),
            cell(text, "when"),
            self.in_time(row, goal),
            *[cell(self.after(row, name), "when") for name in ("detected_at", "acknowledged_at", "acted_at")],
            cell(tr.message(title_of(str(procedure))) if procedure else ""),
        ]

    def in_time(self, row: Doc, goal: float | None) -> dict[str, str]:
        """Whether it was over in time, as far as it was not planned."""
        tr = self.tr
        took, most = number(row.get("unplanned_seconds", row.get("seconds"))), number(row.get("worst_seconds"))
        if row.get("planned"):
            return signed("P", tr.t("planned"), "planned")
        if took is None or goal is None:
            return cell("–")
        if took > goal:
            return signed("✘", tr.t("too long"), "bad")
        if not row.get("to") or most is None or most > goal:
            return signed("?", tr.t("not known"), "unknown")
        return signed("✔", tr.t("in time"), "good")

    def after(self, row: Doc, name: str) -> str:
        began, then = epoch(row.get("from")), epoch(row.get(name))
        return "" if began is None or then is None else self.words.seconds(max(then - began, 0.0))

    def burn(self) -> dict[str, Any]:
        """How fast the error budget burns, where the document says so."""
        tr = self.tr
        rows = []
        for rate in mappings(self.document.get("burn")):
            rates = [number(rate.get(name)) for name in ("long_burn", "short_burn", "factor")]
            times = ["" if value is None else f"{tr.number(value, 2)}×" for value in rates]
            windows = [tr.value("_s", rate.get(name)) for name in ("long_s", "short_s")]
            firing = bool(rate.get("firing"))
            state = signed("✘", tr.t("burns too fast"), "bad") if firing else signed("✔", tr.t("quiet"), "good")
            rows.append([*map(cell, (rate.get("name"), " / ".join(windows), *times)), state])
        t = tr.t
        columns = [t("Alert"), t("Windows"), t("Long window"), t("Short window"), t("Limit"), t("State")]
        return self.table("burn", t("Burn rate of the error budget"), columns, rows, "")

    def copies(self) -> dict[str, Any]:
        """A row for each kind of backup and restore; ``each``: one for every single one, the newest first."""
        tr, words = self.tr, self.words
        made = excellence.copies(self.runs)
        kinds: dict[str, list[dict[str, Any]]] = {}
        for one in made:
            kinds.setdefault(tr.message(one["title"]), []).append(one)
        rows = []
        for title, several in kinds.items():
            failed = sum(one["status"] == "failed" for one in several)
            took = [one["seconds"] for one in several if one["seconds"] is not None]
            last = several[-1]
            row = [
                cell(title),
                cell(words.count(len(several))),
                cell(f"✘ {failed}" if failed else "✔ 0", "bad" if failed else "good"),
                cell(tr.time(last["at"]), "when"),
                cell(tr.seconds(statistics.median(took)) if took else ""),
                cell(tr.seconds(max(took)) if took else ""),
                cell(tr.bytes(last["bytes"]) if last["bytes"] is not None else ""),
            ]
            rows.append(row)
        t = tr.t
        figures = [t("Took, median"), t("Took, longest"), t("Size of the last")]
        columns = [t("What"), t("Count"), t("Failed"), t("Last"), *figures]
        empty = t("No run of this period backed up or restored anything.")
        each = {
            "columns": [t("When"), t("What"), t("Result"), t("Took"), t("Application stopped for")],
            "rows": [self.copy(one) for one in reversed(made[-MAX_COPIES:])],
        }
        return {**self.table("copies", t("Backups and restores"), columns, rows, empty), "each": each}

    def copy(self, row: Mapping[str, Any]) -> list[str]:
        tr = self.tr
        _, symbol, word = _TICKS[row["status"]]
        times = [tr.seconds(row[name]) if row[name] is not None else "–" for name in ("seconds", "stopped_s")]
        return [tr.time(row["at"]), tr.message(row["title"]), f"{symbol} {tr.message(word)}", *times]

    def maintenance(self) -> dict[str, Any]:
        tr = self.tr
        rows = [
            [*(cell(tr.time(row.get(name)), "when") for name in ("from", "to")), cell(row.get("reason") or "")]
            for row in mappings(self.document.get("maintenance"))
        ]
        columns = [tr.t("From"), tr.t("To"), tr.t("Reason")]
        return self.table("maintenance", tr.t("Maintenance windows"), columns, rows, "")

    def by_day(self) -> dict[str, Any]:
        t, words = self.tr.t, self.words
        times = {"down": t("Down, unplanned"), "planned_down": t("Down, planned"), "unknown": t("Unknown")}
        percentiles = ("p50", "p95", "p99")
        rows = []
        for day in self.days:
            date = calendar.date_of(day)
            up, down = number(day.get("up_s")) or 0.0, number(day.get("down_s")) or 0.0
            latencies = [number(day.get(f"{name}_ms")) for name in percentiles]
            row = [
                words.day(date, "yMMMd") if date else day.get("date"),
                words.share(up / (up + down)) if up + down > 0 else "–",
                *(words.seconds(number(day.get(f"{name}_s")) or 0) for name in times),
                *("–" if value is None else self.tr.value("_ms", value) for value in latencies),
                words.minutes(day.get("budget_remaining_minutes")),
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
                tone, word = _METRICS.get(str(item.get("status")), _METRICS["unknown"])
                title, note = item.get("title") or item.get("id"), item.get("observed")
                rows.append(self.ticked(title, tone, SYMBOLS[tone], word, tr.message(note)))
            # A day says nothing of its month.
            if rows and self.stretch.days >= excellence.SHORTEST.get(str(cadence), 0):
                title = clean(tr.message(CADENCES.get(str(cadence), cadence)))
                groups.append({"title": title, "items": rows})
        return groups

    def checklist(self) -> list[dict[str, Any]]:
        tr, zone = self.tr, self.tr.zone
        elapsed = sum(1 for day in self.days if (epoch(day.get("to")) or self.end + 1) <= self._midnight())
        judged = excellence.checklist(self.runs, self.document, days=self.stretch.days, elapsed=elapsed, zone=zone)
        groups = []
        for group in judged:
            rows, unit = [], _UNITS[group["cadence"]]
            for item in group["items"]:
                tone, symbol, word = _TICKS[item["status"]]
                note = []
                if item["done"]:
                    counts = {"met": min(item["done"], item["due"]), "total": item["due"]}
                    note.append(tr.message({**unit, "args": counts}))
                if item["at"] is not None:
                    last = datetime.fromtimestamp(item["at"], zone).date()
                    note.append(tr.t("last: {date}", date=self.words.day(last)))
                row = self.ticked(item["title"], tone, symbol, word, ", ".join(note))
                rows.append({**row, "ticked": item["status"] == "done"})
            groups.append({"title": tr.message(CADENCES[group["cadence"]]), "items": rows})
        return groups

    def ticked(self, title: object, tone: str, symbol: str, word: object, note: str) -> dict[str, Any]:
        """A row of a list: what it is about, and how it went."""
        words = {"title": clean(self.tr.message(title)), "word": self.tr.message(word), "note": clean(note)}
        return {"tone": tone, "symbol": symbol, **words}

    def _midnight(self) -> float:
        """Until when days are over: the local midnight at or before ``until``, or the period's own end."""
        if self.until >= self.end:
            return self.end
        moment = datetime.fromtimestamp(self.until, self.tr.zone)
        return moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp()
