"""What an operator sees on the terminal: a line a task, a line a failure, and nothing twice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as Default

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import plain

DOCUMENTATION = """
name: operator
type: stdout
short_description: One line per task and one line per failure
description:
  - A line for every task as it starts, hosts only where something changed, failed or could not be reached.
  - A failure is one line that says what, where and why; no traceback and no dump of the result.
  - With C(-v) and more it is Ansible's default callback in everything.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

# What has nothing to say: a check of arguments that passes, and what only decides who goes on.
SILENT = ("ansible.builtin.validate_argument_spec", "ansible.builtin.meta")
# Of more hosts than this the recap names only those that something happened to.
RECAP_HOSTS = 20


Words = Callable[[Any], str]


def reason(result: dict[str, Any], words: Words = plain) -> str:
    """Why a task failed, in one line: the first item that failed speaks for a loop, a module's messages for it."""
    for item in result.get("results") or []:
        if isinstance(item, dict) and (item.get("failed") or item.get("unreachable")):
            return reason(item, words)
    failures = result.get("failures")
    if isinstance(failures, list) and failures and all(isinstance(one, dict) and "text" in one for one in failures):
        return " ".join("; ".join(map(words, failures)).split())
    parts = [str(result.get("msg") or "")]
    if result.get("module_stderr"):
        parts.append(str(result["module_stderr"]).strip().splitlines()[-1])
    elif result.get("stderr"):
        parts.append(str(result["stderr"]).strip().splitlines()[-1])
    if result.get("argument_errors"):
        parts = ["; ".join(map(str, result["argument_errors"])) + ": correct the variable in the inventory"]
    return " - ".join(" ".join(part.split()) for part in parts if part.strip()) or "no reason given, see -v"


def note(result: dict[str, Any], words: Words = plain) -> str:
    """What a task that went well has to say all the same, in one line; empty for most."""
    said = result.get("note") or ""
    return " ".join("; ".join(map(words, said if isinstance(said, list) else [said])).split())


def uneventful(stats: Any) -> list[str]:
    """Hosts of which a recap would only say that all was well."""
    told = (stats.changed, stats.failures, stats.dark, stats.rescued, stats.ignored)
    return [host for host in stats.processed if not any(counted.get(host) for counted in told)]


class CallbackModule(Default):  # type: ignore[misc]
    """Ansible's default callback, reduced to what an operator can act on."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "operator"

    def _brief(self) -> bool:
        return not self._display.verbosity

    def _words(self, host: Any) -> Words:
        """How messages are put for a host: in the language of its inventory. Only called when there is one to put."""
        from orquestrador_ops.core import settings

        variables = self._play.get_variable_manager().get_vars(play=self._play, host=host)
        try:
            kept = settings.of(variables, str)
            words: Words = kept.translator().message
        except ValueError:  # said by the conclusion of the run
            return plain
        return words

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if not self._brief():
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        mode = " (check mode: nothing is changed)" if play.check_mode else ""
        self._display.display(f"\n{play.get_name().strip()}{mode}")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if not self._brief():
            super().v2_playbook_on_task_start(task, is_conditional)
            return
        self._last_task_banner = task._uuid
        if task.action not in SILENT:
            name = task.get_name().strip()
            self._display.display(f"  - {name}")

    def v2_runner_on_ok(self, result: Any) -> None:
        if not self._brief():
            super().v2_runner_on_ok(result)
            return
        if result.result.get("changed") and result.task.action != "ansible.builtin.include_tasks":
            self._display.display(f"    changed: {result.host.get_name()}", color=C.COLOR_CHANGED)
        if result.result.get("note"):
            said = note(result.result, self._words(result.host))
            self._display.display(f"    note: {result.host.get_name()}: {said}", color=C.COLOR_WARN)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not self._brief():
            super().v2_runner_on_failed(result, ignore_errors)
            return
        line = f"    failed: {result.host.get_name()}: {reason(result.result, self._words(result.host))}"
        self._display.display(line, color=C.COLOR_ERROR)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        if not self._brief():
            super().v2_runner_on_unreachable(result)
            return
        line = f"    unreachable: {result.host.get_name()}: {reason(result.result)}"
        self._display.display(line, color=C.COLOR_UNREACHABLE)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if not self._brief():
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        if not self._brief():
            super().v2_runner_item_on_failed(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if not self._brief():
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if self._brief() and len(stats.processed) > RECAP_HOSTS:
            quiet = uneventful(stats)
            for host in quiet:
                del stats.processed[host]
            self._display.display(f"\n{len(quiet)} hosts without a change or a failure")
        super().v2_playbook_on_stats(stats)
