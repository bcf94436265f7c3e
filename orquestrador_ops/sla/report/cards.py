"""Cards of service levels: verdict, measured value, the interval that gaps leave, and the error budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from orquestrador.core.messages import msg

from ...core.text import clean
from .wording import Wording

Doc = Mapping[str, Any]

VERDICTS: Mapping[str, tuple[str, Any]] = {
    "met": ("good", msg("MET")),
    "missed": ("bad", msg("MISSED")),
    "unproven": ("warn", msg("NOT PROVEN")),
    "no_data": ("unknown", msg("NO DATA")),
}
SYMBOLS = {"good": "✔", "warn": "!", "bad": "✘", "unknown": "?", "": ""}
# Texts about an error budget: within it, and beyond it.
_BUDGET_TEXTS: Mapping[str, tuple[Any, Any]] = {
    "minutes": (msg("{left} of {budget} left"), msg("overspent: {over} beyond {budget}")),
    "slow": (msg("{left} of {budget} slow answers left"), msg("overspent: {over} slow answers beyond {budget}")),
    "errors": (msg("{left} of {budget} errors left"), msg("overspent: {over} errors beyond {budget}")),
}
_SOURCES: Mapping[str, Any] = {
    "inside": msg("probed on the host"),
    "outside": msg("probed from outside"),
    "logs": msg("counted in the logs"),
    "probes": msg("counted from probes"),
}


class Cards:
    """Builds the cards of a document's service levels."""

    def __init__(self, wording: Wording) -> None:
        self.tr, self.wording = wording.tr, wording

    def card(self, sla: Doc) -> dict[str, Any]:
        name = str(sla.get("id"))
        tone, verdict = VERDICTS.get(str(sla.get("verdict")), VERDICTS["no_data"])
        return {
            "id": clean(name),
            "title": clean(self.tr.message(sla.get("title") or name)),
            "tone": tone,
            "symbol": SYMBOLS[tone],
            "word": self.tr.message(verdict),
            "value": clean(self.value(sla)),
            "objective": clean(self.objective(sla)),
            "between": clean(self.between(sla)),
            "notes": [clean(note) for note in self.notes(sla)],
            "budget": self.budget(sla),
            "action": clean(self.tr.message(sla.get("action"))),
        }

    def shown(self, sla: Doc, value: object) -> str:
        if sla.get("unit") == "seconds":
            return self.wording.seconds(value)
        return self.wording.share(value, number(sla.get("objective")))

    def value(self, sla: Doc) -> str:
        value = _decisive(sla, "value")
        if value is not None:
            return self.shown(sla, value)
        if sla.get("unit") == "seconds" and sla.get("verdict") == "met" and not sla.get("total"):
            return self.tr.t("no incident")
        return "–"

    def objective(self, sla: Doc) -> str:
        tr, goal = self.tr, self.shown(sla, sla.get("objective"))
        threshold = mapping(sla.get("threshold")).get("latency_ms")
        if threshold is not None:
            return tr.t("at least {share} in less than {threshold_ms}", share=goal, threshold_ms=threshold)
        if sla.get("unit") == "seconds" or sla.get("id") == "error_rate":
            return tr.t("at most {goal}", goal=goal)
        return tr.t("at least {goal}", goal=goal)

    def between(self, sla: Doc) -> str:
        """Return the interval, if gaps leave one that rounding does not hide."""
        worst, best = _decisive(sla, "worst"), _decisive(sla, "best")
        if sla.get("verdict") == "no_data":
            return ""
        if worst is None and best is not None and sla.get("unit") == "seconds":
            return self.tr.t("not recovered yet: {best_s} so far", best_s=best)
        if worst is None or best is None:
            return ""
        low, high = self.shown(sla, worst), self.shown(sla, best)
        return "" if low == high else self.tr.t("between {worst} and {best}", worst=low, best=high)

    def notes(self, sla: Doc) -> list[str]:
        tr, wording = self.tr, self.wording
        notes = [self.counted(sla)]
        coverage = number(_decisive(sla, "coverage"))
        if coverage is not None and coverage < 1 and sla.get("unit") != "seconds":
            notes.append(tr.t("known for {coverage} of the time", coverage=wording.share(coverage)))
        raw, adjusted = number(sla.get("value")), number(mapping(sla.get("adjusted")).get("value"))
        if raw is not None and adjusted is not None and self.shown(sla, raw) != self.shown(sla, adjusted):
            notes.append(tr.t("{raw} with planned time counted", raw=self.shown(sla, raw)))
        quantiles = [(label, number(sla.get(f"{label}_ms"))) for label in ("p50", "p95", "p99")]
        if any(value is not None for _, value in quantiles):
            notes.append(", ".join(f"{label} {tr.value('_ms', value)}" for label, value in quantiles))
        if sla.get("measured_by") in _SOURCES:
            notes.append(tr.message(_SOURCES[str(sla.get("measured_by"))]))
        return [note for note in notes if note]

    def counted(self, sla: Doc) -> str:
        tr, good, total = self.tr, number(sla.get("good")), number(sla.get("total"))
        if good is None or not total:
            return ""
        some, every = self.wording.count(good), self.wording.count(total)
        if sla.get("unit") == "seconds":
            return tr.t("{good} of {total} incidents in time", good=some, total=every)
        if sla.get("id") == "error_rate":
            bad = self.wording.count(total - good)
            if sla.get("measured_by") == "logs":
                return tr.t("{bad} errors in {total} requests", bad=bad, total=every)
            return tr.t("{bad} of {total} probes bad", bad=bad, total=every)
        if sla.get("id") == "response":
            return tr.t("{good} of {total} answers in time", good=some, total=every)
        return tr.t("{good} of {total} probes good", good=some, total=every)

    def budget(self, sla: Doc) -> dict[str, Any] | None:
        """Return the remaining error budget as text, and as percent of a bar."""
        wording = self.wording
        for unit, write in (("minutes", wording.minutes), ("events", wording.count)):
            whole, amount = number(sla.get(f"budget_{unit}")), number(sla.get(f"remaining_{unit}"))
            if whole is None or amount is None or whole <= 0:
                continue
            kind = unit if unit == "minutes" else "slow" if sla.get("id") == "response" else "errors"
            tone = "bad" if amount < 0 else "warn" if amount < whole / 4 else "good"
            return {
                "text": self.left(kind, amount, whole, write),
                "left": f"{min(max(amount / whole, 0.0), 1.0) * 100:.1f}",
                "tone": tone,
            }
        return None

    def left(self, kind: str, left: float, whole: float, write: Callable[[object], str]) -> str:
        """Return the rest of a budget, or by how much it is overspent; ``kind`` is one of :data:`_BUDGET_TEXTS`."""
        text = _BUDGET_TEXTS[kind][left < 0]["text"]
        if kind != "minutes":
            # Fractions of an event are rounded down: none is left, and one is too many.
            left, whole = math.floor(left), math.floor(whole)
        return clean(self.tr.t(text, left=write(left), over=write(-left), budget=write(whole)))


def _decisive(sla: Doc, name: str) -> float | None:
    """Return the figure that decides the verdict: adjusted, if there is one."""
    adjusted = mapping(sla.get("adjusted"))
    return number(adjusted[name] if name in adjusted else sla.get(name))


def number(value: object) -> float | None:
    """Return a number, ``None`` for anything else, NaN included."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None  # noqa: PLR0124


def mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping, an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}
