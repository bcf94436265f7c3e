"""Restore a backup over the database in production, with a way back at every moment.

Everything that can be refused is refused before anything is changed. Then: the application is stopped, what is there is
saved (with nobody writing any more, so that no row is outside of both backups), the schema is dropped and loaded,
compared, and the application started and proven. What fails after the stop is undone: the safety backup is loaded and
the application started. A journal beside the backups says how far it came, so that a run that was killed is noticed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

from ..app.control import Application
from ..core.errors import OperatorError
from ..core.jsonable import iso
from ..core.messages import msg
from ..core.types import Message
from ..mysql.clients import need
from ..mysql.dump_scanner import DumpScanner
from ..mysql.load import Admin, Loader, Server, inspect, opens, release
from ..system.files import Lock, free_bytes, locked, sha256_of
from ..system.pipeline import Pipeline, write_all
from ..system.whole_file import sync_directory
from .database import back_up
from .store import backups, choose, sweep, write_manifest

JOURNAL = ".restore.json"
ROOM = 1.25  # of the size that the tables had, for what loading them takes
# Oldest server of the same product whose dumps are taken. Across products nothing is: MariaDB's dumps begin with a line
# that MySQL's client rejects, MySQL's name collations that MariaDB does not have, and either has syntax of its own.
TAKES = {"mysql": (5, 7), "mariadb": (10, 3)}
STOPPED, REPLACING, REPLACED = "stopped", "replacing", "replaced"


class Wanted(NamedTuple):
    """What the operator asks for."""

    directory: str
    backup: str
    name: str  # of the database that is replaced
    confirm: str
    unverified: bool
    identity: str
    recipient: str
    defaults_file: str  # of the account that makes the safety backup
    reserve_bytes: int
    timeout_s: float  # for the way there, and again for the way back
    stall_s: float
    app_timeout_s: float  # to stop, to start, and to be healthy, each


def pick(directory: str, wanted: str) -> dict[str, Any]:
    """The manifest of the backup; ``latest`` is the newest that is no safety backup."""
    if not wanted:
        raise OperatorError(msg("no backup is named: give -e backup=latest, an id or a file"))
    if wanted != "latest":
        return choose(directory, wanted)
    found = [manifest for manifest in backups(directory) if manifest.get("purpose") != "safety"]
    if not found:
        raise OperatorError(
            msg("there is no backup {wanted} in {path}: look at what is there", wanted=wanted, path=directory)
        )
    return found[-1]


def refuse(manifest: dict[str, Any], wanted: Wanted, server: Server) -> Optional[Message]:
    """Why a backup is not restored into this server, ``None`` when it may be; pure."""
    if manifest["database"] != wanted.name:
        return msg("backup {id} is of the database {other}, not of {database}: choose another", id=str(manifest["id"]),
                   other=str(manifest["database"]), database=wanted.name)  # fmt: skip
    if manifest.get("verified") is None and not wanted.unverified:
        return msg("backup {id} is not proven: prove it with verify_backup.yml, or give"
                   " -e backup_restore_unverified=true", id=str(manifest["id"]))  # fmt: skip
    return untakeable(manifest, server)


def untakeable(manifest: dict[str, Any], server: Server) -> Optional[Message]:
    """Why this server can't take the dump, ``None`` when it can; pure."""
    theirs = manifest["server"]
    product, version, lower = str(theirs["product"]), str(theirs["version"]), int(theirs["lower_case_table_names"])
    backup, theirs_said, ours = str(manifest["id"]), f"{product} {version}", f"{server.product} {server.version}"
    if product != server.product or product not in TAKES:
        return msg("backup {id} is of {theirs}, which {ours} can't take: restore it into a server of its own product",
                   id=backup, theirs=theirs_said, ours=ours)  # fmt: skip
    if release(version) > release(server.version):
        return msg("backup {id} is of {theirs}, newer than {ours}: update the server first", id=backup,
                   theirs=theirs_said, ours=ours)  # fmt: skip
    if release(version) < TAKES[product]:
        return msg("backup {id} is of {theirs}, too old for {ours}: restore it into an older server and update that",
                   id=backup, theirs=theirs_said, ours=ours)  # fmt: skip
    if lower != server.lower_case_table_names and any(name != name.lower() for name in manifest["tables"]):
        return msg("backup {id} has names with capitals, which this server treats otherwise: lower_case_table_names"
                   " was {theirs} and is {ours}", id=backup, theirs=str(lower),
                   ours=str(server.lower_case_table_names))  # fmt: skip
    return None


def confirmed(wanted: Wanted) -> None:
    """:class:`OperatorError` unless the operator named the database that is replaced."""
    if wanted.confirm != wanted.name:
        raise OperatorError(
            msg("nothing is restored without its confirmation: give -e confirm={database}, the database that is"
                " replaced", database=wanted.name)
        )  # fmt: skip


def needed_bytes(manifest: dict[str, Any], server: Server) -> int:
    """What loading takes where the server keeps its data, what the schema has there now being freed before."""
    theirs = manifest["server"]
    loaded = int(max(int(theirs["size_bytes"]), int(manifest["bytes_dump"])) * ROOM)
    return max(loaded - server.size_bytes, 0) + (int(manifest["bytes_dump"]) if server.log_bin else 0)


class Plan(NamedTuple):
    """What is going to be done; nothing has been changed yet."""

    manifest: dict[str, Any]
    path: str
    server: Server
    safety_bytes: int  # that the safety backup is expected to take


def prepare(wanted: Wanted, admin: Admin, application: Application) -> Plan:
    """Look at everything that could be in the way; :class:`OperatorError` for the first that is."""
    confirmed(wanted)
    manifest = pick(wanted.directory, wanted.backup)
    path = os.path.join(wanted.directory, str(manifest["file"]))
    server = inspect(admin, wanted.name)
    reason = refuse(manifest, wanted, server)
    if reason is not None:
        raise OperatorError(reason)
    if sha256_of(path) != manifest["sha256"]:
        raise OperatorError(
            msg("{path} is damaged: its SHA-256 is not the one in its manifest: restore another backup", path=path)
        )
    _fits(wanted)
    opens(path, wanted.identity)
    application.known()
    safety = 0
    if server.exists and not server.empty:
        safety = int(_save(wanted, None, check_mode=True)["needed_bytes"])
    _room(wanted, manifest, server, safety)
    return Plan(manifest, path, server, safety)


def _fits(wanted: Wanted) -> None:
    """The safety backup has to be readable with the key at hand, or it is no way back."""
    if not wanted.identity.strip().startswith("AGE-SECRET-KEY-1"):
        raise OperatorError(msg("backup_age_identity is no private key of age: give AGE-SECRET-KEY-1… from Vault"))
    with Pipeline(time.monotonic() + 30, 30) as pipeline:
        keygen = pipeline.start("age-keygen", [need("age-keygen"), "-y"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if keygen.stdin is None or keygen.stdout is None:
            raise RuntimeError("a pipe is missing")
        pipeline.watch()
        with contextlib.suppress(BrokenPipeError):
            write_all(keygen.stdin.fileno(), wanted.identity.strip().encode() + b"\n")
        keygen.stdin.close()
        public = keygen.stdout.read(4096).decode("ascii", "replace").split()
        pipeline.finish()
    if wanted.recipient not in public:
        raise OperatorError(
            msg("backup_age_recipient does not belong to backup_age_identity: the safety backup could not be read;"
                " correct either")
        )  # fmt: skip


def _room(wanted: Wanted, manifest: dict[str, Any], server: Server, safety: int) -> None:
    if not os.path.isdir(server.data_directory):
        return  # a server of another host
    needed, free = needed_bytes(manifest, server), free_bytes(server.data_directory)
    if os.stat(server.data_directory).st_dev == os.stat(wanted.directory).st_dev:
        needed += safety
    if free < needed + wanted.reserve_bytes:
        raise OperatorError(
            msg("the restore needs about {needed_bytes} and has to leave {reserve_bytes}, but {path} has {free_bytes}"
                " left: free some", needed_bytes=needed, reserve_bytes=wanted.reserve_bytes, free_bytes=free,
                path=server.data_directory)
        )  # fmt: skip


def _save(wanted: Wanted, lock: Optional[Lock], *, check_mode: bool = False) -> dict[str, Any]:
    return back_up(
        wanted.directory, defaults_file=wanted.defaults_file, name=wanted.name, recipient=wanted.recipient,
        reserve_bytes=wanted.reserve_bytes, timeout_s=wanted.timeout_s, stall_s=wanted.stall_s, check_mode=check_mode,
        purpose="safety", held=lock,
    )  # fmt: skip


def restore(wanted: Wanted, admin: Admin, application: Application, *, check_mode: bool = False) -> dict[str, Any]:
    """Restore a backup over the database.

    :returns: ``{changed, backup: manifest, path, evidence, notes: [message]}``
    :raises OperatorError: why nothing was begun; :class:`RestoreError` when it had begun: what became of it.
    """
    if check_mode or not os.path.isdir(wanted.directory):
        plan = prepare(wanted, admin, application)
        return _said(plan, read_journal(wanted.directory))
    with locked(wanted.directory, "database_restore", time.time()) as lock:
        confirmed(wanted)
        sweep(wanted.directory)
        plan = prepare(wanted, admin, application)
        return _Restore(wanted, admin, application, plan, lock).run()


def _said(plan: Plan, journal: Optional[dict[str, Any]]) -> dict[str, Any]:
    notes = _broken_off(journal)
    notes.append(
        msg("{path}, {rows} rows of {tables} tables as of {began_at}, would replace the database {database}; the"
            " application would be stopped meanwhile", path=plan.path, rows=plan.manifest["rows"],
            tables=len(plan.manifest["tables"]), began_at=str(plan.manifest["started_at"]),
            database=str(plan.manifest["database"]))
    )  # fmt: skip
    notes.append(
        msg("a safety backup of about {size_bytes} would be made first", size_bytes=plan.safety_bytes)
        if plan.server.exists and not plan.server.empty else msg("there is nothing to save first")
    )  # fmt: skip
    return {"changed": True, "backup": plan.manifest, "path": plan.path, "evidence": {}, "notes": notes}


# --- the journal: what a run that was killed leaves to the next ----------------------------------------------------


def read_journal(directory: str) -> Optional[dict[str, Any]]:
    """What a run that was ended half-way left, ``None`` when none was."""
    try:
        descriptor = os.open(os.path.join(directory, JOURNAL), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, encoding="utf-8") as file:
            journal = json.loads(file.read(65536))
    except (OSError, ValueError, RecursionError):
        return None
    return journal if isinstance(journal, dict) else None


def _write_journal(directory: str, journal: dict[str, Any]) -> None:
    os.rename(write_manifest(directory, JOURNAL + ".new", journal), os.path.join(directory, JOURNAL))
    sync_directory(directory)


def _broken_off(journal: Optional[dict[str, Any]]) -> list[Message]:
    if journal is None:
        return []
    backup, began, safety = (str(journal.get(name)) for name in ("backup", "began_at", "safety"))
    if not journal.get("safety"):
        return [msg("a restore of {id} that began at {began_at} was not finished", id=backup, began_at=began)]
    return [
        msg("a restore of {id} that began at {began_at} was not finished; the safety backup of then is {safety}",
            id=backup, began_at=began, safety=safety)
    ]  # fmt: skip


class _Restore:
    """One restore, from the stop of the application on."""

    def __init__(self, wanted: Wanted, admin: Admin, application: Application, plan: Plan, lock: Lock) -> None:
        self._wanted = wanted
        self._application = application
        self._plan = plan
        self._lock = lock
        self._server = plan.server
        self._left = read_journal(wanted.directory)
        self._notes = _broken_off(self._left)
        self._loader = Loader(admin, plan.server.product, wanted.name, wanted.identity, wanted.stall_s, self._tell)
        self._began = time.time()
        self._stage = ""
        self._safety: Optional[dict[str, Any]] = None
        self._way_back: Optional[dict[str, Any]] = None
        self._scheduler = plan.server.event_scheduler
        if self._left is not None and self._left.get("event_scheduler") == "ON" and self._scheduler == "OFF":
            self._scheduler = "ON"  # the run that was killed had switched it off
        self._figures: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """Do it, or undo it."""
        if not self._application.running():
            self._way_back = self._inherited()
        clock = time.monotonic()
        try:
            self._enter(STOPPED)
            self._application.stop(self._wanted.app_timeout_s)
            self._keep()
            self._figures = self._replace(self._plan.path, self._plan.manifest)
            self._enter(REPLACED)
            self._application.start(self._wanted.app_timeout_s)
            self._application.prove(self._wanted.app_timeout_s)
        except BaseException as error:
            with _undisturbed():
                raise self._undone(error) from error
        self._close()
        return self._result(time.monotonic() - clock)

    def _tell(self, scanner: DumpScanner) -> None:
        self._lock.tell(1.0, action="database_restore", bytes=scanner.bytes, table=scanner.table)

    def _enter(self, stage: str) -> None:
        self._stage = stage
        _write_journal(
            self._wanted.directory,
            {
                "backup": self._plan.manifest["id"],
                "safety": self._way_back["id"] if self._way_back else None,
                "began_at": iso(self._began),
                # While the way back is another run's, what is there is what that one left half-way.
                "stage": REPLACING if stage == STOPPED and self._way_back else stage,
                "event_scheduler": self._scheduler,
            },
        )

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._wanted.directory, JOURNAL))
            sync_directory(self._wanted.directory)

    def _inherited(self) -> Optional[dict[str, Any]]:
        """The safety backup of a run that was killed while the database was incomplete, if that is how it is still."""
        left = self._left or {}
        if left.get("stage") != REPLACING:
            return None
        for manifest in backups(self._wanted.directory):
            path = os.path.join(self._wanted.directory, str(manifest["file"]))
            if manifest["id"] == left.get("safety") and sha256_of(path) == manifest["sha256"]:
                return manifest
        return None

    def _keep(self) -> None:
        """Save what is there; it is the way back, unless what is there is what a killed run left half-way."""
        if self._server.exists and not self._server.empty:
            self._safety = _save(self._wanted, self._lock)["backup"]
        self._way_back = self._way_back or self._safety
        if self._safety is None:
            self._notes.append(
                msg("the database was empty: there was nothing to save") if self._server.exists
                else msg("the database did not exist: there was nothing to save")
            )  # fmt: skip
        else:
            self._notes.append(
                msg("what was there is saved in {path}: {rows} rows", rows=self._safety["rows"],
                    path=os.path.join(self._wanted.directory, str(self._safety["file"])))
            )  # fmt: skip

    def _replace(self, path: str, manifest: dict[str, Any]) -> dict[str, Any]:
        self._enter(REPLACING)
        if self._scheduler != "ON":
            return self._loader.replace(path, manifest, time.monotonic() + self._wanted.timeout_s)
        # An event that fires while its tables are being loaded changes them.
        self._loader.events("OFF")
        try:
            figures = self._loader.replace(path, manifest, time.monotonic() + self._wanted.timeout_s)
        except BaseException:
            # A server that does not answer any more comes back with the scheduler as it is configured.
            with contextlib.suppress(OperatorError):
                self._loader.events("ON")
            raise
        self._loader.events("ON")
        return figures

    def _undone(self, error: BaseException) -> BaseException:
        """Put back what was there and start the application; what to say of it."""
        if isinstance(error, OperatorError):
            said = error.message
        elif isinstance(error, OSError):
            said = msg("the restore can't go on in {path}: {reason}", path=self._wanted.directory,
                       reason=error.strerror or type(error).__name__)  # fmt: skip
        elif isinstance(error, (SystemExit, KeyboardInterrupt)):
            said = msg("the restore was told to end by a signal")
        else:
            said = msg("the restore failed unexpectedly: {reason}: report it", reason=type(error).__name__)
        messages = [said]
        try:
            messages.append(self._put_back())
        except BaseException as second:  # noqa: BLE001 - whatever it was, the operator has to know what is where
            messages += self._stranded(second)
            return OperatorError(*messages, *self._notes)
        try:
            self._application.start(self._wanted.app_timeout_s)
            self._application.prove(self._wanted.app_timeout_s)
            messages.append(msg("the application runs again and is healthy"))
        except BaseException as third:  # noqa: BLE001 - as above
            messages.append(third.message if isinstance(third, OperatorError) else msg("the application did not start"))
            messages.append(msg("look at the application: the database is not what keeps it from running"))
        self._close()
        return OperatorError(*messages, *self._notes)

    def _put_back(self) -> Message:
        if self._stage == STOPPED and self._way_back is None:
            return msg("the database {database} was not touched", database=self._wanted.name)
        if self._way_back is not None:
            if self._stage == REPLACED:
                self._application.stop(self._wanted.app_timeout_s)
            path = os.path.join(self._wanted.directory, str(self._way_back["file"]))
            self._replace(path, self._way_back)
            return msg("the database {database} is again what it was: the safety backup {path} was put back",
                       database=self._wanted.name, path=path)  # fmt: skip
        if self._stage == REPLACED:
            return msg("the database {database} is restored and compared; there was nothing before it to go back to",
                       database=self._wanted.name)  # fmt: skip
        self._loader.drop(self._server.defaults)
        return msg("the database {database} is as empty as it was: nothing half-restored is left",
                   database=self._wanted.name)  # fmt: skip

    def _stranded(self, error: BaseException) -> list[Message]:
        unexpected = msg("the restore failed unexpectedly: {reason}: report it", reason=type(error).__name__)
        reason = error.message if isinstance(error, OperatorError) else unexpected
        safety = str(self._way_back["id"]) if self._way_back else str(self._plan.manifest["id"])
        return [
            msg("what was there could not be put back"), reason,
            msg("the database {database} is incomplete and the application is stopped: remove the cause, then run"
                " restore.yml with -e backup={id} -e backup_restore_unverified=true -e confirm={database};"
                " its file is in {path}", database=self._wanted.name, id=safety, path=self._wanted.directory),
        ]  # fmt: skip

    def _result(self, seconds: float) -> dict[str, Any]:
        manifest, figures = self._plan.manifest, self._figures
        evidence = {
            "id": manifest["id"], "rows": manifest["rows"], "tables": len(manifest["tables"]),
            "bytes_dump": manifest["bytes_dump"], "restore_s": figures["restore_s"],
            "compare_s": figures["compare_s"], "identical": figures["exact"], "stopped_s": round(seconds, 3),
            "dumped_at": str(manifest["started_at"]),
            "safety": self._safety["id"] if self._safety else None,
        }  # fmt: skip
        notes = [
            msg("{rows} rows of {tables} tables are as they were dumped at {began_at}; restored in {restore_s}",
                rows=evidence["rows"], tables=evidence["tables"], began_at=str(manifest["started_at"]),
                restore_s=evidence["restore_s"]),
            msg("the application was stopped for {stopped_s} and is healthy", stopped_s=evidence["stopped_s"]),
        ]  # fmt: skip
        return {"changed": True, "backup": manifest, "path": self._plan.path, "evidence": evidence,
                "notes": [*notes, *self._notes]}  # fmt: skip


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Nothing but a kill ends what puts things back."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
