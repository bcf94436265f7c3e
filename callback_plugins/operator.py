"""The operator's terminal output: one line for each task and each failure."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as Default

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import msg, plain

if TYPE_CHECKING:
    from orquestrador.core.types import Message
    from orquestrador_ops.core.i18n import Translator

DOCUMENTATION = """
name: operator
type: stdout
short_description: Print one line per task and per failure, in the operator's language
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


Translate = Callable[[Any], str]  # a message, in the operator's language
_CHANGED, _NOTE, _FAILED, _UNREACHABLE = msg("changed"), msg("note"), msg("failed"), msg("unreachable")
_CHECK_MODE = msg("check mode: nothing is changed")
_CORRECT = msg("correct the variable in the inventory")
_NO_REASON = msg("no reason given, see -v")


def reason(result: dict[str, Any], translate: Translate = plain) -> str:
    """Return why a task failed, in one line: of a loop the first item that failed, of a module its messages."""
    for item in result.get("results") or []:
        if isinstance(item, dict) and (item.get("failed") or item.get("unreachable")):
            return reason(item, translate)
    failures = result.get("failures")
    if isinstance(failures, list) and failures and all(isinstance(item, dict) and "text" in item for item in failures):
        return " ".join("; ".join(map(translate, failures)).split())
    parts = [str(result.get("msg") or "")]
    if result.get("module_stderr"):
        parts.append(str(result["module_stderr"]).strip().splitlines()[-1])
    elif result.get("stderr"):
        parts.append(str(result["stderr"]).strip().splitlines()[-1])
    if result.get("argument_errors"):
        parts = ["; ".join(map(str, result["argument_errors"])) + ": " + translate(_CORRECT)]
    return " - ".join(" ".join(part.split()) for part in parts if part.strip()) or translate(_NO_REASON)


def note(result: dict[str, Any], translate: Translate = plain) -> str:
    """Return the remark of a task that succeeded, in one line; empty for most."""
    notes = result.get("note") or ""
    return " ".join("; ".join(map(translate, notes if isinstance(notes, list) else [notes])).split())


def uneventful(stats: Any) -> list[str]:
    """Return the hosts without a change or a failure."""
    eventful = (stats.changed, stats.failures, stats.dark, stats.rescued, stats.ignored)
    return [host for host in stats.processed if not any(counts.get(host) for counts in eventful)]


class CallbackModule(Default):  # type: ignore[misc]
    """Ansible's default callback, reduced to what an operator can act on."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "operator"

    _language: Translator | None = None  # of the play

    def _brief(self) -> bool:
        return not self._display.verbosity

    def _translator(self, host: Any) -> Translator | None:
        """Return the language of a host, of the play's variables without one; ``None`` when it is not available."""
        from orquestrador_ops.core import settings

        variables = self._play.get_variable_manager().get_vars(play=self._play, host=host)
        try:
            return settings.of(variables, str).translator()
        except ValueError:  # the conclusion of the run reports it
            return None

    def _translate(self, host: Any) -> Translate:
        translator = self._translator(host)
        return translator.message if translator else plain

    def _translate_name(self, name: str) -> str:
        """Translate the name of a play or a task; a path at its end, from a template, stays as it is."""
        if self._language is None:
            return name.strip()
        role, colon, task = name.strip().rpartition(" : ")
        text, slash, path = task.partition(" /")
        return f"{role}{colon}{self._language.t(text)}{slash}{path}"

    def _show(self, kind: Message, host: Any, text: str, color: str) -> None:
        """Show one line about a host."""
        line = f"    {self._in_play_language(kind)}: {host.get_name()}"
        self._display.display(f"{line}: {text}" if text else line, color=color)

    def _in_play_language(self, message: Message) -> str:
        return self._language.message(message) if self._language else plain(message)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if not self._brief():
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        # Of its first host, once a play: variables of the inventory are not among the play's own.
        hosts = play.get_variable_manager()._inventory.get_hosts(play.hosts)
        self._language = self._translator(next(iter(hosts), None))
        mode = f" ({self._in_play_language(_CHECK_MODE)})" if play.check_mode else ""
        self._display.display(f"\n{self._translate_name(play.get_name())}{mode}")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if not self._brief():
            super().v2_playbook_on_task_start(task, is_conditional)
            return
        self._last_task_banner = task._uuid
        if task.action not in SILENT:
            self._display.display(f"  - {self._translate_name(task.get_name())}")

    def v2_runner_on_ok(self, result: Any) -> None:
        if not self._brief():
            super().v2_runner_on_ok(result)
            return
        if result.result.get("changed") and result.task.action != "ansible.builtin.include_tasks":
            self._show(_CHANGED, result.host, "", C.COLOR_CHANGED)
        if result.result.get("note"):
            self._show(_NOTE, result.host, note(result.result, self._translate(result.host)), C.COLOR_WARN)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not self._brief():
            super().v2_runner_on_failed(result, ignore_errors)
            return
        text = reason(result.result, self._translate(result.host))
        self._show(_FAILED, result.host, text, C.COLOR_ERROR)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        if not self._brief():
            super().v2_runner_on_unreachable(result)
            return
        self._show(_UNREACHABLE, result.host, reason(result.result, self._in_play_language), C.COLOR_UNREACHABLE)

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
            text = self._in_play_language(msg("{count} hosts without a change or a failure", count=len(quiet)))
            self._display.display(f"\n{text}")
        super().v2_playbook_on_stats(stats)
