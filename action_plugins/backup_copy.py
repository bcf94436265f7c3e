"""Copy backups off the host; copies on the controller are fetched here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.backup.offsite import CONTROLLER
from orquestrador_ops.adapters import fetch as fetching
from orquestrador_ops.adapters.base import ControllerAction


class ActionModule(ControllerAction):
    """Run the module on the host; for the controller, fetch between two calls of it."""

    TRANSFERS_FILES = True
    _requires_connection = True

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        result = self.module("backup_copy", arguments)
        if arguments.get("to") != CONTROLLER or "sets" not in result:
            return result
        self._set_renewal(arguments.get("lease"))
        fetcher = fetching.BackupFetcher(self.settings.state_dir, str(arguments["host"]), self._fetch, self.check_mode)
        proven = fetcher.fetch_missing(result["sets"])
        if proven and not self.check_mode:
            result = self.module("backup_copy", {**arguments, "recorded": proven})
            if "sets" not in result:
                return result
        return fetcher.result(result["sets"])

    def _set_renewal(self, lease: dict[str, Any] | None) -> None:
        self._renew = (
            fetching.lease_renewer(lease, lambda request: self.module("host_lease", request)) if lease else None
        )

    def _fetch(self, source: str, target: Path) -> None:
        """Fetch a file of the host; in pieces under a lease, or with become."""
        try:
            if self._connection.become is None and self._renew is None:
                self._connection.fetch_file(source, str(target))
            else:
                fetching.stream_file(source, target, self._low_level_execute_command, self._renew or (lambda: None))
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as error:
            raise fetching.file_error(error) from error
