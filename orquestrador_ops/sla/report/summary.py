"""A document of service levels in words: one line for each SLA, for a play and for whoever reads its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ...core.i18n import Translator
from ...core.text import clean
from .wording import Words

Document = Mapping[str, Any]

VERDICTS: Mapping[str, Message] = {
    "met": msg("met"),
    "missed": msg("MISSED"),
    "unproven": msg("not proven"),
    "no_data": msg("no data"),
}


def verdict(name: object, tr: Translator) -> str:
    """A verdict in the operator's language."""
    return tr.message(VERDICTS.get(str(name), str(name)))


def value(sla: Document, name: str, words: Words) -> str:
    """A figure of an SLA (``value``, ``worst``, ``best``, ``objective``) in its unit; ``-`` where there is none."""
    figure = sla.get(name)
    if figure is None:
        return "-"
    return words.seconds(figure) if sla["unit"] == "seconds" else words.share(figure, sla["objective"])


def objective(sla: Document, words: Words) -> str:
    """What was promised: ``≥ 99.9%``, ``95% < 200 ms``, ``≤ 5 min``."""
    limit = value(sla, "objective", words)
    threshold = (sla.get("threshold") or {}).get("latency_ms")
    if threshold is not None:
        return f"{limit} < {words.tr.milliseconds(threshold)}"
    return f"{'≤' if lower_is_better(sla) else '≥'} {limit}"


def lower_is_better(sla: Document) -> bool:
    """Whether less of an SLA's figure is better: errors, and times."""
    return sla["id"] in {"error_rate", "recovery"}


def interval(sla: Document, words: Words) -> str:
    """From the worst to the best that the gaps allow; empty where they change nothing."""
    worst, best = value(sla, "worst", words), value(sla, "best", words)
    return "" if worst == best else f"{worst} … {best}"


def left(sla: Document, words: Words) -> str:
    """What is left of the error budget: minutes, else events; empty for an SLA that has none."""
    if sla["verdict"] == "no_data":
        return ""
    if sla.get("remaining_minutes") is not None:
        return words.minutes(sla["remaining_minutes"])
    if sla.get("remaining_events") is not None:
        # Part of an event is none that may still happen.
        count = words.count(sla["remaining_events"] // 1)
        return words.tr.t("1 event") if count == "1" else words.tr.t("{count} events", count=count)
    return ""


def of_host(documents: Sequence[Document], tr: Translator) -> list[str]:
    """What the periods of one host say: a heading and a line for each SLA, then the actions of those missed."""
    if not documents:
        return []
    words = Words(tr)
    names = ", ".join(str(one["period"]["name"]) for one in documents)
    found = [tr.t("Service levels of {host} ({periods})", host=clean(documents[0]["host"], 255), periods=names)]
    found += [_line(several, documents, words) for several in zip(*(one["slas"] for one in documents), strict=True)]
    actions = {sla["id"]: sla["action"] for one in documents for sla in one["slas"] if sla.get("action")}
    return found + ["  " + tr.t("To do: {action}", action=action) for action in actions.values()]


def _line(several: Sequence[Document], documents: Sequence[Document], words: Words) -> str:
    tr, first = words.tr, several[0]
    parts = []
    for sla, document in zip(several, documents, strict=True):
        rest = left(sla, words)
        text = f"{document['period']['name']} {value(sla, 'value', words)} {verdict(sla['verdict'], tr)}"
        parts.append(text + (f" ({_remains(rest, tr)})" if rest else ""))
    return clean(f"  {tr.message(first['title'])} {objective(first, words)}: " + "; ".join(parts), 400)


def _remains(rest: str, tr: Translator) -> str:
    """What is left of a budget, or by how much it was exceeded."""
    return tr.t("{over} beyond it", over=rest[1:]) if rest.startswith("-") else tr.t("{left} left", left=rest)


def missed(documents: Sequence[Document], tr: Translator) -> str:
    """The SLAs that are missed, in one line; empty when none is."""
    words = Words(tr)
    found = [
        f"{tr.message(sla['title'])} {one['period']['name']} {value(sla, 'value', words)} ({objective(sla, words)})"
        for one in documents
        for sla in one["slas"]
        if sla["verdict"] == "missed"
    ]
    return clean("; ".join(found), 600)


def worded(found: Any, tr: Translator) -> Any:
    """The same with every message in words."""
    if isinstance(found, Mapping):
        if set(found) == {"text", "args"}:
            return tr.message(found)
        return {name: worded(one, tr) for name, one in found.items()}
    return [worded(one, tr) for one in found] if isinstance(found, list) else found
