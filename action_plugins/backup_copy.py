"""Copy backups elsewhere: what the host can't do by itself, fetching them to the controller, is done here."""

from __future__ import annotations

import base64
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.backup.offsite import CONTROLLER, remarks
from orquestrador.core.messages import plain
from orquestrador_ops.adapters import fetch as fetching
from orquestrador_ops.core import settings

RENEWALS = 6  # of a lease, while its procedure fetches
PIECE_BYTES = 6 * 1024 * 1024  # a multiple of three, so that pieces of base64 need no padding


class ActionModule(ActionBase):  # type: ignore[misc]
    """The module on the host, and for the controller the fetching between two calls of it."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        answer = self._module(arguments, variables)
        if arguments.get("to") != CONTROLLER or "sets" not in answer:
            return answer
        state = settings.of(variables, self._templar.template).state_dir
        self._lease, self._renewed = arguments.get("lease"), time.monotonic()
        self._variables = variables
        return self._fetched(answer["sets"], state, arguments, variables)

    def _module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = self._execute_module(
            module_name="backup_copy", module_args=arguments, task_vars=variables
        )
        return done

    def _fetched(
        self, sets: list[dict[str, Any]], state: Path, arguments: dict[str, Any], variables: dict[str, Any]
    ) -> dict[str, Any]:
        began = time.monotonic()
        result: dict[str, Any] = {"changed": False, "copied": [], "present": [], "copied_bytes": 0, "failures": []}
        proven = []
        check = bool(self._task.check_mode)
        for item in sets:
            folder = fetching.place(state, str(arguments["host"]), str(item["kind"]))
            try:
                if fetching.has(folder, item):
                    result["present"].append(item["id"])
                    if item["recorded"]:
                        continue
                else:
                    result["copied"].append(item["id"])
                    result["copied_bytes"] += item["bytes"]
                    if not check:
                        fetching.fetch_backup(folder, item, self._fetch)
            except fetching.FetchError as error:
                result["failures"].append(error.message)
                continue
            proven.append({name: item[name] for name in ("directory", "kind", "id", "sha256")})
        if proven and not check:
            recorded = self._module({**arguments, "recorded": proven}, variables)
            if "sets" not in recorded:
                return recorded
            sets = recorded["sets"]
        result["changed"] = bool(proven)
        if not check:
            self._describe(sets, state, str(arguments["host"]), result)
        if result["failures"]:
            said = "; ".join(plain(failure) for failure in result["failures"])
            return {**result, "failed": True, "msg": said}
        evidence = {
            "to": CONTROLLER,
            "place": str(fetching.place(state, str(arguments["host"]), "").parent),
            "copied": result["copied"],
            "present": len(result["present"]),
            "copied_bytes": result["copied_bytes"],
            "took_s": round(time.monotonic() - began, 3),
        }
        return {**result, "evidence": evidence, "note": remarks(result, CONTROLLER, check)}

    def _describe(self, sets: list[dict[str, Any]], state: Path, host: str, result: dict[str, Any]) -> None:
        """Bring the manifests that belong to what is there."""
        there = {*result["copied"], *result["present"]}
        for item in sets:
            folder = fetching.place(state, host, str(item["kind"]))
            try:
                if item["id"] in there and (folder / str(item["file"])).is_file():
                    result["changed"] |= fetching.fetch_manifest(folder, item, self._fetch)
            except fetching.FetchError as error:
                result["failures"].append(error.message)

    def _fetch(self, source: str, target: Path) -> None:
        """Stream a file of the host; under a lease, or as another user than the connection's, piece by piece."""
        try:
            if self._connection.become is None and not self._lease:
                self._connection.fetch_file(source, str(target))
            else:
                self._pieces(source, target)
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as error:
            raise OSError(0, " ".join(str(error).split())[:300]) from error

    def _pieces(self, source: str, target: Path) -> None:
        with target.open("wb") as stream:
            number = 0
            while True:
                self._renew()
                command = (
                    f"dd if={shlex.quote(source)} bs={PIECE_BYTES} skip={number} count=1 2>/dev/null | base64 -w 0"
                )
                done = self._low_level_execute_command(command)
                if done["rc"] != 0:
                    raise AnsibleError(str(done.get("stderr") or done.get("msg") or "the file can't be read"))
                data = base64.b64decode(str(done["stdout"]), validate=False)
                stream.write(data)
                number += 1
                if len(data) < PIECE_BYTES:
                    return

    def _renew(self) -> None:
        """Renew the host's lease, which nobody on the host does meanwhile, when it is time."""
        if not self._lease or time.monotonic() - self._renewed < float(self._lease["ttl_s"]) / RENEWALS:
            return
        wanted = {name: self._lease[name] for name in ("path", "run_id", "ttl_s")}
        done = self._execute_module(
            module_name="host_lease", module_args={**wanted, "state": "renewed"}, task_vars=self._variables
        )
        if done.get("failed"):
            raise AnsibleError(str(done.get("msg")))
        self._renewed = time.monotonic()
