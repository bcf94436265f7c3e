"""Base class of the action plugins: arguments, access to settings and history, failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from ansible.plugins.action import ActionBase

from orquestrador.core.messages import plain

from ..core.errors import reason_of
from ..core.settings import Settings
from ..core.settings import of as settings_from
from ..history import access
from . import results

if TYPE_CHECKING:
    from orquestrador.core.types import Message

    from ..history.store import History

Result = dict[str, Any]


class ControllerAction(ActionBase):  # type: ignore[misc]
    """A task on the controller: a plugin declares its arguments and works in :meth:`act`."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    # Checked before anything is done; ``None`` where the module on the host checks them.
    ARGUMENTS: ClassVar[Mapping[str, Any] | None] = None
    EXCLUSIVE: ClassVar[tuple[tuple[str, str], ...]] = ()
    # Exceptions that become a one-line failure, and the line.
    FAILS: ClassVar[tuple[type[Exception], ...]] = ()
    FAILURE: ClassVar[Message | None] = None

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> Result:
        super().run(tmp, task_vars)
        self.variables = task_vars or {}
        self.host = str(self.variables.get("inventory_hostname", ""))
        self.check_mode = bool(self._task.check_mode)
        arguments = dict(self._task.args)
        if self.ARGUMENTS is not None:
            _, arguments = self.validate_argument_spec(self.ARGUMENTS, mutually_exclusive=self.EXCLUSIVE)
        try:
            return self.act(arguments)
        except self.FAILS as error:
            return self.failed(error)

    def act(self, arguments: dict[str, Any]) -> Result:
        """Do the task's work and return its result."""
        raise NotImplementedError

    def failed(self, error: object) -> Result:
        """Return the result of a task that ``error`` ended: an exception, a text, or a message for the operator."""
        message = reason_of(error) if isinstance(error, Exception) else error
        if self.FAILURE is not None and not isinstance(error, dict):
            message = {**self.FAILURE, "args": {"error": message}}
        failures = {"failures": [message]} if isinstance(message, dict) else {}
        return {"failed": True, "changed": False, "msg": plain(message), **failures}

    def in_words(self, error: Exception) -> str:
        """Return an error in the operator's language; in English when ``ops_locale`` itself is wrong."""
        try:
            return self.settings.translator().message(reason_of(error))
        except ValueError:
            return str(error)

    @property
    def no_history(self) -> bool:
        """Whether there is no history yet: a read-only task creates none."""
        return access.absent(self.settings.state_dir, self.settings.history_url)

    @cached_property
    def settings(self) -> Settings:
        """The controller's settings: directories, history, language."""
        return settings_from(self.variables, self.template)

    def template(self, value: Any) -> Any:
        """Return a variable's value with its templates resolved."""
        return self._templar.template(value)

    def result(self, part: str) -> Result:
        """Return the result that an earlier task registered for this host: see :mod:`.results`."""
        return dict(results.registered(self.variables, part))

    def hosts(self) -> dict[str, Mapping[str, Any]]:
        """Return the untemplated variables of every host: templating them takes longer than probing the hosts."""
        variables = self.variables["hostvars"]
        return {str(host): variables.raw_get(host) for host in self.variables.get("ansible_play_hosts_all") or ()}

    def open_history(self) -> History:
        """Open the history, to be used in a ``with``. Raises :class:`orquestrador_ops.core.errors.HistoryError`."""
        return access.open_history(self.settings.state_dir, self.settings.history_url)

    def module(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """Run a module on the host in Ansible's own way."""
        result: Result = self._execute_module(module_name=name, module_args=arguments, task_vars=self.variables)
        return result

    def show(self, lines: Iterable[str]) -> None:
        """Show lines on the terminal."""
        for line in lines:
            self._display.display(line)
