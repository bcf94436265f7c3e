"""Backups fetched to the controller: whole files under their names, private, proven by their SHA-256."""

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
from orquestrador.core.errors import OperatorError
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


class Copies:
    """The backups of a host on the controller: what is here, what had to be fetched, and what could not be."""

    def __init__(self, state_dir: Path, host: str, fetch: Fetch, check_mode: bool) -> None:
        self._state_dir, self._host, self._fetch, self._check_mode = state_dir, host, fetch, check_mode
        self._began = time.monotonic()
        lists: dict[str, Any] = {name: [] for name in ("copied", "present", "failures")}
        self._found = {**lists, "changed": False, "copied_bytes": 0}

    def bring(self, sets: Sets) -> list[dict[str, Any]]:
        """Fetch the data that is missing; what the host has to note as proven to be here."""
        proven, found = [], self._found
        for item in sets:
            folder = place(self._state_dir, self._host, str(item["kind"]))
            try:
                if has(folder, item):
                    found["present"].append(item["id"])
                    if item["recorded"]:
                        continue
                else:
                    found["copied"].append(item["id"])
                    found["copied_bytes"] += item["bytes"]
                    if not self._check_mode:
                        fetch_backup(folder, item, self._fetch)
            except FetchError as error:
                found["failures"].append(error.message)
                continue
            proven.append({name: item[name] for name in ("directory", "kind", "id", "sha256")})
        found["changed"] = bool(proven)
        return proven

    def result(self, sets: Sets) -> dict[str, Any]:
        """Bring the manifests that belong to what is here, and say what was done."""
        found = self._found
        if not self._check_mode:
            self._describe(sets)
        if found["failures"]:
            return {**found, "failed": True, "msg": "; ".join(map(plain, found["failures"]))}
        evidence = {
            "to": CONTROLLER,
            "place": str(place(self._state_dir, self._host, "").parent),
            "copied": found["copied"],
            "present": len(found["present"]),
            "copied_bytes": found["copied_bytes"],
            "took_s": round(time.monotonic() - self._began, 3),
        }
        return {**found, "evidence": evidence, "note": describe(found, CONTROLLER, self._check_mode)}

    def _describe(self, sets: Sets) -> None:
        here = {*self._found["copied"], *self._found["present"]}
        for item in sets:
            folder = place(self._state_dir, self._host, str(item["kind"]))
            try:
                if item["id"] in here and (folder / str(item["file"])).is_file():
                    self._found["changed"] |= fetch_manifest(folder, item, self._fetch)
            except FetchError as error:
                self._found["failures"].append(error.message)


def renewing(lease: Mapping[str, Any], ask: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Callable[[], None]:
    """Renews the host's lease when it is time: nobody on the host does meanwhile. ``OSError`` where it is lost."""
    renewed = time.monotonic()

    def renew() -> None:
        nonlocal renewed
        if time.monotonic() - renewed < float(lease["ttl_s"]) / RENEWALS:
            return
        done = ask({**{name: lease[name] for name in ("path", "run_id", "ttl_s")}, "state": "renewed"})
        if done.get("failed"):
            raise refused(done.get("msg"))
        renewed = time.monotonic()

    return renew


def pieces(source: str, target: Path, run: Callable[[str], Mapping[str, Any]], renew: Callable[[], None]) -> None:
    """Stream a file by commands of the host, as whoever runs them there, and renew a lease in between."""
    with target.open("wb") as stream:
        for number in itertools.count():
            renew()
            done = run(f"dd if={shlex.quote(source)} bs={PIECE_BYTES} skip={number} count=1 2>/dev/null | base64 -w 0")
            if done["rc"] != 0:
                raise refused(done.get("stderr") or done.get("msg") or "the file can't be read")
            data = base64.b64decode(str(done["stdout"]), validate=False)
            stream.write(data)
            if len(data) < PIECE_BYTES:
                return


def refused(reason: object) -> OSError:
    """Why a file of the host can't be had, as an error of files."""
    return OSError(0, " ".join(str(reason).split())[:300])


def place(state_dir: Path, host: str, kind: str) -> Path:
    """Where the backups of a host lie on the controller."""
    return state_dir / "backups" / safe_name(host) / safe_name(kind)


def has(folder: Path, item: Mapping[str, Any]) -> bool:
    """Whether the copy is there: by its size, and by reading it when it is the newest or was not recorded."""
    path = folder / str(item["file"])
    if path.is_symlink() or not path.is_file() or path.stat().st_size != item["bytes"]:
        return False
    return (bool(item["recorded"]) and not item["newest"]) or sha256_of(str(path)) == item["sha256"]


def fetch_backup(folder: Path, item: Mapping[str, Any], fetch: Fetch) -> None:
    """Fetch one backup's data; nothing but what its manifest says gets its name."""
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
    _into(folder, str(item["file"]), f"{item['directory']}/{item['file']}", fetch, str(item["sha256"]))


def fetch_manifest(folder: Path, item: Mapping[str, Any], fetch: Fetch) -> bool:
    """Fetch its manifest when it is missing or has another size; whether it did."""
    path = folder / str(item["described"])
    if path.is_file() and not path.is_symlink() and path.stat().st_size == item["described_bytes"]:
        return False
    _into(folder, str(item["described"]), f"{item['directory']}/{item['described']}", fetch, None)
    return True


def _into(folder: Path, name: str, source: str, fetch: Fetch, sha256: str | None) -> None:
    if "/" in name or name.startswith("."):
        raise FetchError(msg("the host names a file {name} that no backup can have: nothing is fetched", name=name))
    partial = folder / f".partial-{name}"
    try:
        # Made here, so that it is private from its first byte on.
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
            msg(
                "{destination} can't be used: {reason}",
                destination=str(folder),
                reason=error.strerror or type(error).__name__,
            )
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
