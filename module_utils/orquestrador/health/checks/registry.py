"""What makes a function a check, and what it returns."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional

from ...core.messages import msg
from ...core.types import CRITICAL, OK, UNKNOWN, WARN, Check, Message
from .view import View, as_dict, as_message

NO_PROCESS = msg("PM2 knows no process of this name")
START_PROCESS = msg("Start it from its ecosystem file, then save the list: pm2 start, pm2 save")


class Result(NamedTuple):
    """What a check found. ``source`` is set where another chapter than the check's own asks for it."""

    status: str
    observed: Message
    hint: Optional[Message] = None
    evidence: Optional[dict[str, Any]] = None
    source: Optional[str] = None


class Definition(NamedTuple):
    """A check as it is registered; ``source`` is the chapter of the operational playbook that asks for it."""

    id: str
    title: Message
    source: str
    expects: Callable[[dict[str, Any]], Message]
    judge: Callable[[View], Result]

    def run(self, view: View) -> Check:
        found = self.judge(view)
        return {
            "id": self.id,
            "title": self.title,
            "status": found.status,
            "observed": found.observed,
            "expected": self.expects(view.limits),
            "hint": found.hint if found.status != OK else None,
            "evidence": found.evidence or {},
            "source": found.source or self.source,
        }


_REGISTERED: list[Definition] = []


def check(
    check_id: str, title: Message, source: str, expects: Callable[[dict[str, Any]], Message]
) -> Callable[[Callable[[View], Result]], Callable[[View], Result]]:
    """Register a function as a check; ``expects`` puts into words what the limits ask for."""

    def register(judge: Callable[[View], Result]) -> Callable[[View], Result]:
        _REGISTERED.append(Definition(check_id, title, source, expects, judge))
        return judge

    return register


def registered(module: str) -> list[Definition]:
    """The checks of one module, as they are written there."""
    return [one for one in _REGISTERED if one.judge.__module__ == module]


def unseen(view: View, collector: str, code: Any = None) -> Result:
    """The result of a check whose collector gave nothing."""
    found = view.finding(collector, code)
    if found is None and collector == "pm2" and view.app is None and as_dict(view.pm2).get("daemon") == "online":
        return Result(UNKNOWN, NO_PROCESS, START_PROCESS)
    if found is None:
        hint = msg("Run the probe again; if it repeats, look at the host itself")
        return Result(UNKNOWN, msg("not observed"), hint)
    message = as_message(found.get("message")) or msg("not observed")
    evidence = {"collector": collector, "finding": found.get("code")}
    return Result(UNKNOWN, message, as_message(found.get("hint")) or message, evidence)


def above(value: float, warn: float, critical: float) -> str:
    return CRITICAL if value >= critical else WARN if value >= warn else OK
