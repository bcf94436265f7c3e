"""Fetch backups to the controller: private files, complete under their names, proven by SHA-256."""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orquestrador.backup.offsite import CONTROLLER, describe
from orquestrador.core.errors import OperatorError, os_reason
from orquestrador.core.messages import msg, plain
from orquestrador.lease.keeper import RENEWALS
from orquestrador.system.files import sha256_of

from ..core.files import private_dir, safe_name

RESERVE_BYTES = 256 * 1024 * 1024
PIECE_BYTES = 6 * 1024 * 1024  # a multiple of three, so that pieces of base64 need no padding

Fetch = Callable[[str, Path], None]
Sets = Sequence[Mapping[str, Any]]


class FetchError(OperatorError):
    """A backup could not be fetched."""


class BackupFetcher:
    """Fetches a host's backups to the controller and counts present, copied and failed ones."""

    def __init__(self, state_dir: Path, host: str, fetch: Fetch, check_mode: bool) -> None:
        self._state_dir, self._host, self._fetch, self._check_mode = state_dir, host, fetch, check_mode
        self._started = time.monotonic()
        lists: dict[str, Any] = {name: [] for name in ("copied", "present", "failures")}
        self._result = {**lists, "changed": False, "copied_bytes": 0}

    def fetch_missing(self, sets: Sets) -> list[dict[str, Any]]:
        """Fetch missing data; return the copies that the host has to record as proven."""
        proven, result = [], self._result
        for item in sets:
            folder = copy_directory(self._state_dir, self._host, str(item["kind"]))
            try:
                if is_current(folder, item):
                    result["present"].append(item["id"])
                    if item["recorded"]:
                        continue
                else:
                    result["copied"].append(item["id"])
                    result["copied_bytes"] += item["bytes"]
                    if not self._check_mode:
                        fetch_backup(folder, item, self._fetch)
            except FetchError as error:
                result["failures"].append(error.message)
                continue
            proven.append({name: item[name] for name in ("directory", "kind", "id", "sha256")})
        result["changed"] = bool(proven)
        return proven

    def result(self, sets: Sets) -> dict[str, Any]:
        """Fetch the manifests of all copies and return the task's result."""
        result = self._result
        if not self._check_mode:
            self._fetch_manifests(sets)
        if result["failures"]:
            return {**result, "failed": True, "msg": "; ".join(map(plain, result["failures"]))}
        evidence = {
            "to": CONTROLLER,
            "place": str(copy_directory(self._state_dir, self._host, "").parent),
            "copied": result["copied"],
            "present": len(result["present"]),
            "copied_bytes": result["copied_bytes"],
            "took_s": round(time.monotonic() - self._started, 3),
        }
        return {**result, "evidence": evidence, "note": describe(result, CONTROLLER, self._check_mode)}

    def _fetch_manifests(self, sets: Sets) -> None:
        here = {*self._result["copied"], *self._result["present"]}
        for item in sets:
            folder = copy_directory(self._state_dir, self._host, str(item["kind"]))
            try:
                if item["id"] in here and (folder / str(item["file"])).is_file():
                    self._result["changed"] |= fetch_manifest(folder, item, self._fetch)
            except FetchError as error:
                self._result["failures"].append(error.message)


def lease_renewer(
    lease: Mapping[str, Any], request: Callable[[dict[str, Any]], Mapping[str, Any]]
) -> Callable[[], None]:
    """Return a function that renews the host's lease when due; it raises ``OSError`` when the lease is lost."""
    renewed = time.monotonic()

    def renew() -> None:
        nonlocal renewed
        if time.monotonic() - renewed < float(lease["ttl_s"]) / RENEWALS:
            return
        reply = request({**{name: lease[name] for name in ("path", "run_id", "ttl_s")}, "state": "renewed"})
        if reply.get("failed"):
            raise file_error(reply.get("msg"))
        renewed = time.monotonic()

    return renew


def stream_file(source: str, target: Path, run: Callable[[str], Mapping[str, Any]], renew: Callable[[], None]) -> None:
    """Fetch a file in pieces by commands on the host, and renew the lease in between."""
    with target.open("wb") as stream:
        for number in itertools.count():
            renew()
            reply = run(f"dd if={shlex.quote(source)} bs={PIECE_BYTES} skip={number} count=1 2>/dev/null | base64 -w 0")
            if reply["rc"] != 0:
                raise file_error(reply.get("stderr") or reply.get("msg") or "the file can't be read")
            data = base64.b64decode(str(reply["stdout"]), validate=False)
            stream.write(data)
            if len(data) < PIECE_BYTES:
                return


def file_error(reason: object) -> OSError:
    """Return the reason why a file can't be fetched as an ``OSError``."""
    return OSError(0, " ".join(str(reason).split())[:300])


def copy_directory(state_dir: Path, host: str, kind: str) -> Path:
    """Return the directory of a host's backups on the controller."""
    return state_dir / "backups" / safe_name(host) / safe_name(kind)


def is_current(folder: Path, item: Mapping[str, Any]) -> bool:
    """Return whether the copy is complete: by size, and by SHA-256 when it is the newest or not recorded."""
    path = folder / str(item["file"])
    if path.is_symlink() or not path.is_file() or path.stat().st_size != item["bytes"]:
        return False
    return (bool(item["recorded"]) and not item["newest"]) or sha256_of(str(path)) == item["sha256"]


def fetch_backup(folder: Path, item: Mapping[str, Any], fetch: Fetch) -> None:
    """Fetch one backup's data; a file that differs from its manifest is discarded."""
    private_dir(folder)
    free = shutil.disk_usage(folder).free
    if free < int(item["bytes"]) + RESERVE_BYTES:
        raise FetchError(
            msg(
                "{path} on the controller has {free_bytes} left, too little for a copy of {size_bytes}: free some",
                path=str(folder),
                free_bytes=free,
                size_bytes=int(item["bytes"]),
            )
        )
    _fetch_file(folder, str(item["file"]), f"{item['directory']}/{item['file']}", fetch, str(item["sha256"]))


def fetch_manifest(folder: Path, item: Mapping[str, Any], fetch: Fetch) -> bool:
    """Fetch a backup's manifest when it is missing or has another size; return whether it was fetched."""
    path = folder / str(item["described"])
    if path.is_file() and not path.is_symlink() and path.stat().st_size == item["described_bytes"]:
        return False
    _fetch_file(folder, str(item["described"]), f"{item['directory']}/{item['described']}", fetch, None)
    return True


def _fetch_file(folder: Path, name: str, source: str, fetch: Fetch, sha256: str | None) -> None:
    if "/" in name or name.startswith("."):
        raise FetchError(msg("the host names a file {name} that no backup can have: nothing is fetched", name=name))
    partial = folder / f".partial-{name}"
    try:
        # Created here, so that it is private from its first byte on.
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        fetch(source, partial)
        if sha256 is not None and sha256_of(str(partial)) != sha256:
            raise FetchError(
                msg(
                    "the copy of {path} in {destination} does not match its manifest: check whether the backup itself"
                    " is damaged",
                    path=source,
                    destination=str(folder),
                )
            )
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.chmod(0o600)
        partial.replace(folder / name)
    except OSError as error:
        raise FetchError(
            msg("{destination} can't be used: {reason}", destination=str(folder), reason=os_reason(error))
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
