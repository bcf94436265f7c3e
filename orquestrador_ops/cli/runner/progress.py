"""Progress of a run: on a terminal with times and the remaining budget, elsewhere Ansible's own lines."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from ...core.outcomes import TIMEOUT
from ..words import t, translator
from .events import RunEvents

if TYPE_CHECKING:
    from rich.text import Text

BAR = 20
REFRESH = 5


def ending_text(reason: str) -> str:
    """Return the line that a run is being ended."""
    if reason == TIMEOUT:
        return t("The budget is used up: the run is being ended, here and on its hosts.")
    return t("Interrupted: the run is being ended, here and on its hosts.")


def text_of(event: Mapping[str, Any]) -> str:
    """Return Ansible's output of an event."""
    return str(event.get("stdout") or "").replace("\r\n", "\n").replace("\r", "\n")


class Lines:
    """Writes lines; after a broken pipe it discards them, because the run must go on."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.broken = False
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Write one line or several."""
        if self.broken:
            return
        with self._lock:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                self.broken = True
                silence(self._stream)
            except OSError:
                self.broken = True


def silence(stream: IO[str]) -> None:
    """Redirect a stream without a reader to the null device, so that writing cannot fail."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class Silent:
    """Shows nothing."""

    def event(self, event: Mapping[str, Any], events: RunEvents) -> None:
        """Nothing to show."""

    def tick(self, elapsed_s: float, allowed_s: float, grace_s: float) -> None:
        """Nothing to show."""

    def ending(self, reason: str) -> None:
        """Nothing to show."""


class Plain(Silent):
    """Ansible's own lines, as ``ansible-playbook`` prints them."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def event(self, event: Mapping[str, Any], events: RunEvents) -> None:
        text = text_of(event)
        if text:
            self._lines.write(text)

    def ending(self, reason: str) -> None:
        self._lines.write(ending_text(reason))


class Live(Silent):
    """Display on a terminal: finished tasks with their times above, the current one and the budget below."""

    def __init__(self, *, brief: bool, stream: IO[str] | None = None) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._brief = brief
        self._console = Console(file=stream or sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._live = RichLive(console=self._console, refresh_per_second=REFRESH, transient=True, auto_refresh=False)
        self._held = ""  # a task's line, until its time is known or it has output
        self._now = ("", 0.0)
        self._lock = threading.RLock()
        self._broken = False

    def __enter__(self) -> Live:
        with self._safely():
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._safely():
            self._print_held(None)
            self._live.stop()

    def event(self, event: Mapping[str, Any], events: RunEvents) -> None:
        text, kind = text_of(event), event.get("event")
        with self._safely():
            if kind == "playbook_on_task_start" and self._brief:
                self._print_held(events.tasks[-2].seconds if len(events.tasks) > 1 else None)
                self._held = text.strip("\n")
                if text and events.tasks:  # Ansible's own checks of arguments have no output
                    self._now = (self._held.rpartition(" : ")[2].removeprefix("  - "), events.tasks[-1].started_s)
            elif text:
                self._print_held(None)
                self._print(text)

    def tick(self, elapsed_s: float, allowed_s: float, grace_s: float) -> None:
        with self._safely():
            self._live.update(self._bottom(elapsed_s, allowed_s, grace_s), refresh=True)

    def ending(self, reason: str) -> None:
        with self._safely():
            self._print_held(None)
            self._print(ending_text(reason))

    def _print_held(self, seconds: float | None) -> None:
        """Print the line of the previous task, which has ended or has output."""
        if not self._held:
            return
        took = f"  {translator().seconds(round(seconds, 1))}" if seconds is not None and seconds >= 0.05 else ""
        self._print(self._held + took)
        self._held = ""

    def _print(self, text: str) -> None:
        from rich.text import Text

        self._live.console.print(Text.from_ansi(text))

    def _bottom(self, elapsed_s: float, allowed_s: float, grace_s: float) -> Text:
        from rich.text import Text

        left_s = allowed_s - elapsed_s
        name, started_s = self._now
        share = max(min(left_s / allowed_s, 1.0), 0.0)
        colour = "green" if share > 0.5 else "yellow" if share > 0.2 else "red"
        if left_s > 0:
            clock = t("{left_s} left of {budget_s}", left_s=int(left_s), budget_s=int(allowed_s))
        else:
            clock = t("over its budget: ended in {left_s}", left_s=max(int(allowed_s + grace_s - elapsed_s), 0))
        filled = round(share * BAR)
        width = self._console.width
        line = Text(no_wrap=True, overflow="ellipsis", end="")
        if width >= 60:
            line.append("━" * filled, colour).append("━" * (BAR - filled), "dim").append(" ")
        line.append(clock, colour)
        if name and width >= 40:
            line.append(f"  {name}", "bold").append(f"  {translator().seconds(int(elapsed_s - started_s))}", "dim")
        line.truncate(max(width - 1, 1), overflow="ellipsis")
        return line

    @contextlib.contextmanager
    def _safely(self) -> Any:
        """Ignore errors of a closed terminal, which must not end a run."""
        with self._lock:
            if self._broken:
                yield
                return
            try:
                yield
            except (OSError, ValueError):
                self._broken = True
                silence(self._console.file)
