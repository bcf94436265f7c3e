"""Restore a backup over the production database, with a rollback for every failure.

All checks precede any change. Then the application is stopped, the current database is backed up (while nothing writes
to it, so that no row is missing from both backups), the schema is dropped, loaded and compared, and the application is
started and probed. After a failure, the safety backup is loaded and the application started. A journal beside the
backups records the stage, so that the next run detects a killed one.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

from ..app.control import Application
from ..core.errors import OperatorError, os_reason
from ..core.jsonable import iso
from ..core.messages import msg
from ..core.types import Message
from ..mysql.dump_scanner import DumpScanner
from ..mysql.load import Admin, Loader, ServerInfo, inspect_server, release
from ..system.files import Lock, free_bytes, locked, sha256_of
from ..system.whole_file import sync_directory
from .database import back_up
from .keys import check_opens, check_pair, decrypted
from .session import Limits, no_space_to_restore
from .store import data_path, find_backup, list_backups, sweep, write_manifest

JOURNAL = ".restore.json"
LOAD_FACTOR = 1.25  # space for loading, as a multiple of the tables' size
# Oldest server version whose dumps are accepted. Dumps of the other product never are: MariaDB's begin with a line that
# MySQL's client rejects, MySQL's name collations that MariaDB does not have, and each has its own syntax.
MIN_VERSIONS = {"mysql": (5, 7), "mariadb": (10, 3)}
STOPPED, REPLACING, REPLACED = "stopped", "replacing", "replaced"


class RestoreRequest(NamedTuple):
    """Request of the operator."""

    directory: str
    backup: str
    name: str  # of the database that is replaced
    confirm: str
    unverified: bool
    identity: str
    recipient: str
    defaults_file: str  # of the account that makes the safety backup
    limits: Limits  # the time is for the restore, and again for a rollback
    app_timeout_s: float  # to stop, to start, and to be healthy, each


def choose_backup(directory: str, backup: str) -> dict[str, Any]:
    """Return the manifest of the backup; ``latest`` is the newest one that is not a safety backup."""
    if not backup:
        raise OperatorError(msg("no backup is named: give -e backup=latest, an id or a file"))
    return find_backup(directory, backup, safety=False)


def reason_to_refuse(manifest: dict[str, Any], request: RestoreRequest, server: ServerInfo) -> Optional[Message]:
    """Return why the backup must not be restored into this server, ``None`` when it may be; pure."""
    backup, other = str(manifest["id"]), str(manifest["database"])
    if other != request.name:
        return msg(
            "backup {id} is of the database {other}, not of {database}: choose another",
            id=backup,
            other=other,
            database=request.name,
        )
    if manifest.get("verified") is None and not request.unverified:
        return msg(
            "backup {id} is not proven: prove it with verify_backup.yml, or give -e backup_restore_unverified=true",
            id=backup,
        )
    return reason_incompatible(manifest, server)


def reason_incompatible(manifest: dict[str, Any], server: ServerInfo) -> Optional[Message]:
    """Return why this server can't load the dump, ``None`` when it can; pure."""
    source = manifest["server"]
    product, version, lower = str(source["product"]), str(source["version"]), int(source["lower_case_table_names"])
    sides = {"id": str(manifest["id"]), "theirs": f"{product} {version}", "ours": f"{server.product} {server.version}"}
    if product != server.product or product not in MIN_VERSIONS:
        return msg(
            "backup {id} is of {theirs}, which {ours} can't load: restore it into a server of the same product", **sides
        )
    if release(version) > release(server.version):
        return msg("backup {id} is of {theirs}, newer than {ours}: update the server first", **sides)
    if release(version) < MIN_VERSIONS[product]:
        return msg(
            "backup {id} is of {theirs}, too old for {ours}: restore it into an older server and update that", **sides
        )
    if lower != server.lower_case_table_names and any(name != name.lower() for name in manifest["tables"]):
        return msg(
            "backup {id} has table names with capitals, but lower_case_table_names was {theirs} and is {ours}"
            " here: restore it into a server with the same value",
            id=sides["id"],
            theirs=str(lower),
            ours=str(server.lower_case_table_names),
        )
    return None


def require_confirmation(request: RestoreRequest) -> None:
    """:class:`OperatorError` unless the operator named the database that is replaced."""
    if request.confirm != request.name:
        text = msg(
            "a restore needs a confirmation: give -e confirm={database}, the name of the database that is replaced",
            database=request.name,
        )
        raise OperatorError(text)


def needed_bytes(manifest: dict[str, Any], server: ServerInfo) -> int:
    """Return the bytes that loading needs in the data directory, beyond those that dropping the schema frees."""
    source = manifest["server"]
    loaded = int(max(int(source["size_bytes"]), int(manifest["bytes_dump"])) * LOAD_FACTOR)
    return max(loaded - server.size_bytes, 0) + (int(manifest["bytes_dump"]) if server.log_bin else 0)


class RestorePlan(NamedTuple):
    """A checked restore, before any change."""

    manifest: dict[str, Any]
    path: str
    server: ServerInfo
    safety_bytes: int  # expected size of the safety backup


def prepare(request: RestoreRequest, admin: Admin, application: Application) -> RestorePlan:
    """Check everything that could prevent the restore; :class:`OperatorError` for the first obstacle."""
    require_confirmation(request)
    manifest = choose_backup(request.directory, request.backup)
    path = data_path(request.directory, manifest)
    server = inspect_server(admin, request.name)
    reason = reason_to_refuse(manifest, request, server)
    if reason is not None:
        raise OperatorError(reason)
    if sha256_of(path) != manifest["sha256"]:
        raise OperatorError(
            msg("{path} is damaged: its SHA-256 is not the one in its manifest: restore another backup", path=path)
        )
    check_pair(request.identity, request.recipient)
    check_opens(path, request.identity)
    application.known()
    safety = 0
    if server.exists and not server.empty:
        safety = int(_back_up_current(request, None, check_mode=True)["needed_bytes"])
    _check_space(request, manifest, server, safety)
    return RestorePlan(manifest, path, server, safety)


def _check_space(request: RestoreRequest, manifest: dict[str, Any], server: ServerInfo, safety: int) -> None:
    if not os.path.isdir(server.data_directory):
        return  # a server of another host
    directory, reserve = server.data_directory, request.limits.reserve_bytes
    needed, free = needed_bytes(manifest, server), free_bytes(directory)
    if os.stat(directory).st_dev == os.stat(request.directory).st_dev:
        needed += safety
    if free < needed + reserve:
        raise OperatorError(no_space_to_restore(directory, needed, reserve, free))


def _back_up_current(request: RestoreRequest, lock: Optional[Lock], *, check_mode: bool = False) -> dict[str, Any]:
    return back_up(
        request.directory,
        defaults_file=request.defaults_file,
        name=request.name,
        recipient=request.recipient,
        limits=request.limits,
        check_mode=check_mode,
        purpose="safety",
        held_lock=lock,
    )


def restore(
    request: RestoreRequest, admin: Admin, application: Application, *, check_mode: bool = False
) -> dict[str, Any]:
    """Restore a backup over the database.

    :returns: ``{changed, backup: manifest, path, evidence, notes: [message]}``
    :raises OperatorError: nothing was changed, or the restore failed and was rolled back, or could not be.
    """
    if check_mode or not os.path.isdir(request.directory):
        plan = prepare(request, admin, application)
        return _dry_run_result(plan, read_journal(request.directory))
    with locked(request.directory, "database_restore", time.time()) as lock:
        require_confirmation(request)
        sweep(request.directory)
        plan = prepare(request, admin, application)
        return _Restore(request, admin, application, plan, lock).run()


def _dry_run_result(plan: RestorePlan, journal: Optional[dict[str, Any]]) -> dict[str, Any]:
    manifest = plan.manifest
    replaces = msg(
        "{path}, {rows} rows of {tables} tables as of {began_at}, would replace the database {database}; the"
        " application would be stopped meanwhile",
        path=plan.path,
        rows=manifest["rows"],
        tables=len(manifest["tables"]),
        began_at=str(manifest["started_at"]),
        database=str(manifest["database"]),
    )
    if plan.server.exists and not plan.server.empty:
        saves = msg("a safety backup of about {size_bytes} would be made first", size_bytes=plan.safety_bytes)
    else:
        saves = msg("no safety backup is needed: there is no data to save")
    notes = [*_unfinished_notes(journal), replaces, saves]
    return {"changed": True, "backup": manifest, "path": plan.path, "evidence": {}, "notes": notes}


# --- the journal of a run that was killed --------------------------------------------------------------------------


def read_journal(directory: str) -> Optional[dict[str, Any]]:
    """Return the journal of a run that was killed, ``None`` when there is none."""
    try:
        descriptor = os.open(os.path.join(directory, JOURNAL), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, encoding="utf-8") as file:
            journal = json.loads(file.read(65536))
    except (OSError, ValueError, RecursionError):
        return None
    return journal if isinstance(journal, dict) else None


def _unfinished_notes(journal: Optional[dict[str, Any]]) -> list[Message]:
    if journal is None:
        return []
    facts = {"id": str(journal.get("backup")), "began_at": str(journal.get("began_at"))}
    if not journal.get("safety"):
        return [msg("a restore of {id} that began at {began_at} was not finished", **facts)]
    text = msg(
        "a restore of {id} that began at {began_at} was not finished; its safety backup is {safety}",
        safety=str(journal["safety"]),
        **facts,
    )
    return [text]


class _Restore:
    """One restore, from stopping the application to starting it."""

    def __init__(
        self, request: RestoreRequest, admin: Admin, application: Application, plan: RestorePlan, lock: Lock
    ) -> None:
        self._request = request
        self._application = application
        self._plan = plan
        self._lock = lock
        self._server = plan.server
        self._journal = read_journal(request.directory)
        self._notes = _unfinished_notes(self._journal)
        decrypt = functools.partial(decrypted, identity=request.identity)
        stall_s, product = request.limits.stall_s, plan.server.product
        self._loader = Loader(admin, product, request.name, decrypt, stall_s, self._report_progress)
        self._started_at = time.time()
        self._stage = ""
        self._safety: Optional[dict[str, Any]] = None
        self._rollback_backup: Optional[dict[str, Any]] = None
        self._scheduler = plan.server.event_scheduler
        if self._journal is not None and self._journal.get("event_scheduler") == "ON" and self._scheduler == "OFF":
            self._scheduler = "ON"  # the killed run had switched it off
        self._figures: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """Restore, or roll back and raise the error to report."""
        if not self._application.running():
            self._rollback_backup = self._safety_of_killed_run()
        clock = time.monotonic()
        try:
            self._enter_stage(STOPPED)
            self._application.stop(self._request.app_timeout_s)
            self._save_current()
            self._figures = self._replace(self._plan.path, self._plan.manifest)
            self._enter_stage(REPLACED)
            self._application.start(self._request.app_timeout_s)
            self._application.prove(self._request.app_timeout_s)
        except BaseException as error:
            with _signals_ignored():
                raise self._undo(error) from error
        self._remove_journal()
        return self._result(time.monotonic() - clock)

    def _report_progress(self, scanner: DumpScanner) -> None:
        self._lock.tell(1.0, action="database_restore", bytes=scanner.bytes, table=scanner.table)

    def _enter_stage(self, stage: str) -> None:
        self._stage = stage
        journal = {
            "backup": self._plan.manifest["id"],
            "safety": self._rollback_backup["id"] if self._rollback_backup else None,
            "began_at": iso(self._started_at),
            # With the safety backup of a killed run, the database is still what that run left incomplete.
            "stage": REPLACING if stage == STOPPED and self._rollback_backup else stage,
            "event_scheduler": self._scheduler,
        }
        write_manifest(self._request.directory, JOURNAL, journal)

    def _remove_journal(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._request.directory, JOURNAL))
            sync_directory(self._request.directory)

    def _safety_of_killed_run(self) -> Optional[dict[str, Any]]:
        """Return the safety backup of a run that was killed while it replaced the database, ``None`` otherwise."""
        journal = self._journal or {}
        if journal.get("stage") != REPLACING:
            return None
        for manifest in list_backups(self._request.directory):
            path = data_path(self._request.directory, manifest)
            if manifest["id"] == journal.get("safety") and sha256_of(path) == manifest["sha256"]:
                return manifest
        return None

    def _save_current(self) -> None:
        """Back up the current database; a rollback uses it, unless a killed run left an older safety backup."""
        if self._server.exists and not self._server.empty:
            self._safety = _back_up_current(self._request, self._lock)["backup"]
        self._rollback_backup = self._rollback_backup or self._safety
        if self._safety is not None:
            facts = {"rows": self._safety["rows"], "path": data_path(self._request.directory, self._safety)}
            note = msg("the previous database is saved in {path}: {rows} rows", **facts)
        elif self._server.exists:
            note = msg("the database was empty: there was nothing to save")
        else:
            note = msg("the database did not exist: there was nothing to save")
        self._notes.append(note)

    def _replace(self, path: str, manifest: dict[str, Any]) -> dict[str, Any]:
        self._enter_stage(REPLACING)
        if self._scheduler != "ON":
            return self._loader.replace(path, manifest, time.monotonic() + self._request.limits.timeout_s)
        # An event that fires while its tables are being loaded changes them.
        self._loader.set_event_scheduler("OFF")
        try:
            figures = self._loader.replace(path, manifest, time.monotonic() + self._request.limits.timeout_s)
        except BaseException:
            # A server that does not answer starts again with the configured scheduler.
            with contextlib.suppress(OperatorError):
                self._loader.set_event_scheduler("ON")
            raise
        self._loader.set_event_scheduler("ON")
        return figures

    def _undo(self, error: BaseException) -> BaseException:
        """Roll back and start the application; return the error to raise."""
        if isinstance(error, OperatorError):
            reason = error.message
        elif isinstance(error, OSError):
            where = self._request.directory
            reason = msg("the restore can't go on in {path}: {reason}", path=where, reason=os_reason(error))
        elif isinstance(error, (SystemExit, KeyboardInterrupt)):
            reason = msg("a signal ended the restore")
        else:
            reason = _unexpected(error)
        messages = [reason]
        try:
            messages.append(self._roll_back())
        except BaseException as second:  # noqa: BLE001 - any failure must reach the operator
            messages += self._rollback_failed(second)
            return OperatorError(*messages, *self._notes)
        try:
            self._application.start(self._request.app_timeout_s)
            self._application.prove(self._request.app_timeout_s)
            messages.append(msg("the application runs again and is healthy"))
        except BaseException as third:  # noqa: BLE001 - as above
            messages.append(third.message if isinstance(third, OperatorError) else msg("the application did not start"))
            messages.append(msg("check the application: the database is not the cause"))
        self._remove_journal()
        return OperatorError(*messages, *self._notes)

    def _roll_back(self) -> Message:
        name = self._request.name
        if self._stage == STOPPED and self._rollback_backup is None:
            return msg("the database {database} was not touched", database=name)
        if self._rollback_backup is not None:
            if self._stage == REPLACED:
                self._application.stop(self._request.app_timeout_s)
            path = data_path(self._request.directory, self._rollback_backup)
            self._replace(path, self._rollback_backup)
            return msg(
                "the database {database} is rolled back: the safety backup {path} was restored",
                database=name,
                path=path,
            )
        if self._stage == REPLACED:
            return msg(
                "the database {database} is restored and compared; it was empty before, so there is nothing to"
                " roll back to",
                database=name,
            )
        self._loader.drop(self._server.defaults)
        return msg("the database {database} is empty again: the partial restore was removed", database=name)

    def _rollback_failed(self, error: BaseException) -> list[Message]:
        reason = error.message if isinstance(error, OperatorError) else _unexpected(error)
        next_step = msg(
            "the database {database} is incomplete and the application is stopped: remove the cause, then run"
            " restore.yml with -e backup={id} -e backup_restore_unverified=true -e confirm={database};"
            " its file is in {path}",
            database=self._request.name,
            id=str((self._rollback_backup or self._plan.manifest)["id"]),
            path=self._request.directory,
        )
        return [msg("the rollback failed: the previous database is not back"), reason, next_step]

    def _result(self, seconds: float) -> dict[str, Any]:
        manifest, figures = self._plan.manifest, self._figures
        evidence = {
            **{key: manifest[key] for key in ("id", "rows", "bytes_dump")},
            **{key: figures[key] for key in ("restore_s", "compare_s")},
            "tables": len(manifest["tables"]),
            "identical": figures["exact"],
            "stopped_s": round(seconds, 3),
            "dumped_at": str(manifest["started_at"]),
            "safety": self._safety["id"] if self._safety else None,
        }
        restored = msg(
            "{rows} rows of {tables} tables are as they were dumped at {began_at}; restored in {restore_s}",
            began_at=evidence["dumped_at"],
            **{key: evidence[key] for key in ("rows", "tables", "restore_s")},
        )
        stopped = msg("the application was stopped for {stopped_s} and is healthy", stopped_s=evidence["stopped_s"])
        notes = [restored, stopped, *self._notes]
        return {"changed": True, "backup": manifest, "path": self._plan.path, "evidence": evidence, "notes": notes}


def _unexpected(error: BaseException) -> Message:
    return msg("the restore failed unexpectedly: {reason}: report it", reason=type(error).__name__)


@contextlib.contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ignore signals that end a process, so that only SIGKILL interrupts a rollback."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
