"""Summary of a document of service levels: one line for each SLA, for the output of a play and its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ...core.i18n import Translator
from ...core.text import clean
from .wording import Wording

Document = Mapping[str, Any]

VERDICTS: Mapping[str, Message] = {
    "met": msg("met"),
    "missed": msg("MISSED"),
    "unproven": msg("not proven"),
    "no_data": msg("no data"),
}


def verdict(name: object, tr: Translator) -> str:
    """Return a verdict in the operator's language."""
    return tr.message(VERDICTS.get(str(name), str(name)))


def value(sla: Document, name: str, wording: Wording) -> str:
    """Return a figure of an SLA (``value``, ``worst``, ``best``, ``objective``) in its unit; ``-`` without one."""
    figure = sla.get(name)
    if figure is None:
        return "-"
    return wording.seconds(figure) if sla["unit"] == "seconds" else wording.share(figure, sla["objective"])


def objective(sla: Document, wording: Wording) -> str:
    """Return the objective: ``≥ 99.9%``, ``95% < 200 ms``, ``≤ 5 min``."""
    limit = value(sla, "objective", wording)
    threshold = (sla.get("threshold") or {}).get("latency_ms")
    if threshold is not None:
        return f"{limit} < {wording.tr.milliseconds(threshold)}"
    return f"{'≤' if lower_is_better(sla) else '≥'} {limit}"


def lower_is_better(sla: Document) -> bool:
    """Return whether a lower figure of an SLA is better: error rate and recovery time."""
    return sla["id"] in {"error_rate", "recovery"}


def interval(sla: Document, wording: Wording) -> str:
    """Return the worst and the best value that gaps allow; empty if they are equal."""
    worst, best = value(sla, "worst", wording), value(sla, "best", wording)
    return "" if worst == best else f"{worst} … {best}"


def remaining(sla: Document, wording: Wording) -> str:
    """Return the remaining error budget in minutes, else events; empty for an SLA without one."""
    if sla["verdict"] == "no_data":
        return ""
    if sla.get("remaining_minutes") is not None:
        return wording.minutes(sla["remaining_minutes"])
    if sla.get("remaining_events") is not None:
        # Fractions of an event are rounded down.
        count = wording.count(sla["remaining_events"] // 1)
        return wording.tr.t("1 event") if count == "1" else wording.tr.t("{count} events", count=count)
    return ""


def host_lines(documents: Sequence[Document], tr: Translator) -> list[str]:
    """Return a host's lines: a heading, a line for each SLA with all periods, the actions of missed ones."""
    if not documents:
        return []
    wording = Wording(tr)
    names = ", ".join(str(doc["period"]["name"]) for doc in documents)
    lines = [tr.t("Service levels of {host} ({periods})", host=clean(documents[0]["host"], 255), periods=names)]
    lines += [_sla_line(slas, documents, wording) for slas in zip(*(doc["slas"] for doc in documents), strict=True)]
    actions = {sla["id"]: sla["action"] for doc in documents for sla in doc["slas"] if sla.get("action")}
    return lines + ["  " + tr.t("To do: {action}", action=action) for action in actions.values()]


def _sla_line(slas: Sequence[Document], documents: Sequence[Document], wording: Wording) -> str:
    tr, first = wording.tr, slas[0]
    parts = []
    for sla, document in zip(slas, documents, strict=True):
        amount = remaining(sla, wording)
        text = f"{document['period']['name']} {value(sla, 'value', wording)} {verdict(sla['verdict'], tr)}"
        parts.append(text + (f" ({_remaining_text(amount, tr)})" if amount else ""))
    return clean(f"  {tr.message(first['title'])} {objective(first, wording)}: " + "; ".join(parts), 400)


def _remaining_text(text: str, tr: Translator) -> str:
    """Return the text about a remaining budget, or one that is exceeded."""
    return tr.t("{over} beyond it", over=text[1:]) if text.startswith("-") else tr.t("{left} left", left=text)


def missed(documents: Sequence[Document], tr: Translator) -> str:
    """Return the missed SLAs in one line; empty when none is."""
    wording = Wording(tr)
    texts = [
        f"{tr.message(sla['title'])} {doc['period']['name']} {value(sla, 'value', wording)} ({objective(sla, wording)})"
        for doc in documents
        for sla in doc["slas"]
        if sla["verdict"] == "missed"
    ]
    return clean("; ".join(texts), 600)


def translate_messages(value: Any, tr: Translator) -> Any:
    """Return a document with every message translated."""
    if isinstance(value, Mapping):
        if set(value) == {"text", "args"}:
            return tr.message(value)
        return {name: translate_messages(item, tr) for name, item in value.items()}
    return [translate_messages(item, tr) for item in value] if isinstance(value, list) else value
