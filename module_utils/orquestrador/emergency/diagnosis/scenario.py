"""What may be behind an alert; :mod:`.diagnose` and its siblings find which it is."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from ...core.types import CRITICAL, Message
from ...health.checks.view import as_dict, as_list


class Scenario(NamedTuple):
    """What is behind an alert. ``level`` is whom to tell at once when nothing here can heal it; None: the operator."""

    name: str
    reasons: list[Message]
    proposals: list[Message]
    level: Optional[str] = None


class Scene:
    """Snapshot, verdict and clues, with nothing assumed about what is in them."""

    def __init__(self, snapshot: dict[str, Any], verdict: dict[str, Any], clues: dict[str, Any]) -> None:
        self.snapshot, self.clues = snapshot, clues
        self.statuses = {str(c.get("id")): str(c.get("status")) for c in dicts(verdict.get("checks"))}
        self.pm2 = as_dict(snapshot.get("pm2"))
        self.app = as_dict(self.pm2.get("app"))
        self.states = {str(name): int(count) for name, count in as_dict(self.app.get("statuses")).items()}
        self.port = as_dict(snapshot.get("port"))
        self.http = as_dict(snapshot.get("http"))
        self.database = as_dict(snapshot.get("database"))
        self.resources = as_dict(snapshot.get("resources"))

    def bad(self, check: str) -> bool:
        """Whether a check is critical."""
        return self.statuses.get(check) == CRITICAL

    def last_error(self) -> str:
        """The newest error event of the application's logs, as it was logged; empty when there is none."""
        return str(self.clues.get("last_error") or "")

    def foreign_listener(self) -> Optional[dict[str, Any]]:
        """Who listens on the application's port without being the application."""
        return next((x for x in dicts(self.port.get("listeners")) if x.get("of_app") is False), None)


def dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in as_list(value) if isinstance(item, dict)]
