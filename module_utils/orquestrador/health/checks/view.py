"""A snapshot as checks read it: with nothing assumed about what is in it."""

from __future__ import annotations

from typing import Any, Optional

from ...core.types import Message


class View:
    """The parts of a snapshot, the limits, and what was remembered of the last run."""

    def __init__(self, snapshot: Any, limits: dict[str, Any], memory: Any) -> None:
        whole = as_dict(snapshot)
        self.limits = limits
        self.pm2 = maybe_dict(whole.get("pm2"))
        self.app = maybe_dict(as_dict(self.pm2).get("app"))
        self.port = maybe_dict(whole.get("port"))
        self.http = maybe_dict(whole.get("http"))
        self.database = maybe_dict(whole.get("database"))
        self.resources = maybe_dict(whole.get("resources"))
        self.logs = maybe_dict(whole.get("logs"))
        self.findings = [f for f in as_list(whole.get("errors")) if isinstance(f, dict)]
        self.remembered = maybe_dict(as_dict(memory).get("restarts"))
        self.remembered_at = as_dict(memory).get("taken_at")

    def finding(self, collector: str, code: Any = None) -> Optional[dict[str, Any]]:
        """The first finding of a collector, one with this code before any other."""
        own = [f for f in self.findings if f.get("collector") == collector]
        # Several reasons share a code. A remark about a file's mode is none: it keeps nothing from being observed.
        reasons = [f for f in own if f.get("code") != "loose_permissions"] or own
        return next((f for f in own if code and f.get("code") == code), reasons[0] if reasons else None)

    def said(self, collector: str, code: Any) -> Optional[Message]:
        """What a collector says of exactly this code."""
        found = self.finding(collector, code) or {}
        return as_message(found.get("message")) if found.get("code") == code else None

    def hint(self, collector: str, otherwise: Message, code: Any = None) -> Message:
        found = self.finding(collector, code) or {}
        return as_message(found.get("hint")) or otherwise


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def maybe_dict(value: Any) -> Optional[dict[str, Any]]:
    return value if isinstance(value, dict) else None


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def as_message(value: Any) -> Optional[Message]:
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return {"text": value["text"], "args": as_dict(value.get("args"))}
    return None


def shown(value: Any, otherwise: str = "?") -> str:
    return otherwise if value is None else str(value)[:200]
