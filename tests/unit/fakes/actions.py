"""Action plugins as Ansible makes them for a task, on a connection to this host that nothing is asked over."""

from __future__ import annotations

from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins.loader import connection_loader
from ansible.template import Templar


def action(kind: Any, arguments: dict[str, Any], variables: dict[str, Any], *, check_mode: bool = False) -> Any:
    """A plugin of this class; to be run with ``run(task_vars=variables)``."""
    loader = DataLoader()
    task = Task.load({"debug": arguments, "check_mode": check_mode})
    context = PlayContext()
    connection = connection_loader.get("ansible.legacy.local", context)
    return kind(task, connection, context, loader, Templar(loader, variables=variables), None)
