"""Restore a backup over the database in production, with a way back at every moment.

Everything that can be refused is refused before anything is changed. Then: the application is stopped, what is there is
saved (with nobody writing any more, so that no row is outside of both backups), the schema is dropped and loaded,
compared, and the application started and proven. What fails after the stop is undone: the safety backup is loaded and
the application started. A journal beside the backups says how far it came, so that a run that was killed is noticed.
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
from ..mysql.load import Admin, Loader, Server, inspect, release
from ..system.files import Lock, free_bytes, locked, sha256_of
from ..system.whole_file import sync_directory
from .database import back_up
from .keys import check_opens, check_pair, decrypted
from .session import Limits, no_room_to_restore
from .store import backups, choose, data_path, sweep, write_manifest

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
    limits: Limits  # its time is for the way there, and again for the way back
    app_timeout_s: float  # to stop, to start, and to be healthy, each


def pick(directory: str, wanted: str) -> dict[str, Any]:
    """The manifest of the backup; ``latest`` is the newest that is no safety backup."""
    if not wanted:
        raise OperatorError(msg("no backup is named: give -e backup=latest, an id or a file"))
    return choose(directory, wanted, safety=False)


def refuse(manifest: dict[str, Any], wanted: Wanted, server: Server) -> Optional[Message]:
    """Why a backup is not restored into this server, ``None`` when it may be; pure."""
    backup, other = str(manifest["id"]), str(manifest["database"])
    if other != wanted.name:
        return msg(
            "backup {id} is of the database {other}, not of {database}: choose another",
            id=backup,
            other=other,
            database=wanted.name,
        )
    if manifest.get("verified") is None and not wanted.unverified:
        return msg(
            "backup {id} is not proven: prove it with verify_backup.yml, or give -e backup_restore_unverified=true",
            id=backup,
        )
    return untakeable(manifest, server)


def untakeable(manifest: dict[str, Any], server: Server) -> Optional[Message]:
    """Why this server can't take the dump, ``None`` when it can; pure."""
    theirs = manifest["server"]
    product, version, lower = str(theirs["product"]), str(theirs["version"]), int(theirs["lower_case_table_names"])
    sides = {"id": str(manifest["id"]), "theirs": f"{product} {version}", "ours": f"{server.product} {server.version}"}
    if product != server.product or product not in TAKES:
        return msg(
            "backup {id} is of {theirs}, which {ours} can't take: restore it into a server of its own product", **sides
        )
    if release(version) > release(server.version):
        return msg("backup {id} is of {theirs}, newer than {ours}: update the server first", **sides)
    if release(version) < TAKES[product]:
        return msg(
            "backup {id} is of {theirs}, too old for {ours}: restore it into an older server and update that", **sides
        )
    if lower != server.lower_case_table_names and any(name != name.lower() for name in manifest["tables"]):
        return msg(
            "backup {id} has names with capitals, which this server treats otherwise: lower_case_table_names"
            " was {theirs} and is {ours}",
            id=sides["id"],
            theirs=str(lower),
            ours=str(server.lower_case_table_names),
        )
    return None


def confirmed(wanted: Wanted) -> None:
    """:class:`OperatorError` unless the operator named the database that is replaced."""
    if wanted.confirm != wanted.name:
        text = msg(
            "nothing is restored without its confirmation: give -e confirm={database}, the database that is replaced",
            database=wanted.name,
        )
        raise OperatorError(text)


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
    path = data_path(wanted.directory, manifest)
    server = inspect(admin, wanted.name)
    reason = refuse(manifest, wanted, server)
    if reason is not None:
        raise OperatorError(reason)
    if sha256_of(path) != manifest["sha256"]:
        raise OperatorError(
            msg("{path} is damaged: its SHA-256 is not the one in its manifest: restore another backup", path=path)
        )
    check_pair(wanted.identity, wanted.recipient)
    check_opens(path, wanted.identity)
    application.known()
    safety = 0
    if server.exists and not server.empty:
        safety = int(_save(wanted, None, check_mode=True)["needed_bytes"])
    _room(wanted, manifest, server, safety)
    return Plan(manifest, path, server, safety)


def _room(wanted: Wanted, manifest: dict[str, Any], server: Server, safety: int) -> None:
    if not os.path.isdir(server.data_directory):
        return  # a server of another host
    place, reserve = server.data_directory, wanted.limits.reserve_bytes
    needed, free = needed_bytes(manifest, server), free_bytes(place)
    if os.stat(place).st_dev == os.stat(wanted.directory).st_dev:
        needed += safety
    if free < needed + reserve:
        raise OperatorError(no_room_to_restore(place, needed, reserve, free))


def _save(wanted: Wanted, lock: Optional[Lock], *, check_mode: bool = False) -> dict[str, Any]:
    return back_up(
        wanted.directory,
        defaults_file=wanted.defaults_file,
        name=wanted.name,
        recipient=wanted.recipient,
        limits=wanted.limits,
        check_mode=check_mode,
        purpose="safety",
        held=lock,
    )


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
        saves = msg("there is nothing to save first")
    notes = [*_broken_off(journal), replaces, saves]
    return {"changed": True, "backup": manifest, "path": plan.path, "evidence": {}, "notes": notes}


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


def _broken_off(journal: Optional[dict[str, Any]]) -> list[Message]:
    if journal is None:
        return []
    facts = {"id": str(journal.get("backup")), "began_at": str(journal.get("began_at"))}
    if not journal.get("safety"):
        return [msg("a restore of {id} that began at {began_at} was not finished", **facts)]
    text = msg(
        "a restore of {id} that began at {began_at} was not finished; the safety backup of then is {safety}",
        safety=str(journal["safety"]),
        **facts,
    )
    return [text]


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
        decrypt = functools.partial(decrypted, identity=wanted.identity)
        self._loader = Loader(admin, plan.server.product, wanted.name, decrypt, wanted.limits.stall_s, self._tell)
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
        journal = {
            "backup": self._plan.manifest["id"],
            "safety": self._way_back["id"] if self._way_back else None,
            "began_at": iso(self._began),
            # While the way back is another run's, what is there is what that one left half-way.
            "stage": REPLACING if stage == STOPPED and self._way_back else stage,
            "event_scheduler": self._scheduler,
        }
        write_manifest(self._wanted.directory, JOURNAL, journal)

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
            path = data_path(self._wanted.directory, manifest)
            if manifest["id"] == left.get("safety") and sha256_of(path) == manifest["sha256"]:
                return manifest
        return None

    def _keep(self) -> None:
        """Save what is there; it is the way back, unless what is there is what a killed run left half-way."""
        if self._server.exists and not self._server.empty:
            self._safety = _save(self._wanted, self._lock)["backup"]
        self._way_back = self._way_back or self._safety
        if self._safety is not None:
            facts = {"rows": self._safety["rows"], "path": data_path(self._wanted.directory, self._safety)}
            note = msg("what was there is saved in {path}: {rows} rows", **facts)
        elif self._server.exists:
            note = msg("the database was empty: there was nothing to save")
        else:
            note = msg("the database did not exist: there was nothing to save")
        self._notes.append(note)

    def _replace(self, path: str, manifest: dict[str, Any]) -> dict[str, Any]:
        self._enter(REPLACING)
        if self._scheduler != "ON":
            return self._loader.replace(path, manifest, time.monotonic() + self._wanted.limits.timeout_s)
        # An event that fires while its tables are being loaded changes them.
        self._loader.events("OFF")
        try:
            figures = self._loader.replace(path, manifest, time.monotonic() + self._wanted.limits.timeout_s)
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
            place, reason = self._wanted.directory, os_reason(error)
            said = msg("the restore can't go on in {path}: {reason}", path=place, reason=reason)
        elif isinstance(error, (SystemExit, KeyboardInterrupt)):
            said = msg("the restore was told to end by a signal")
        else:
            said = _unexpected(error)
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
        name = self._wanted.name
        if self._stage == STOPPED and self._way_back is None:
            return msg("the database {database} was not touched", database=name)
        if self._way_back is not None:
            if self._stage == REPLACED:
                self._application.stop(self._wanted.app_timeout_s)
            path = data_path(self._wanted.directory, self._way_back)
            self._replace(path, self._way_back)
            return msg(
                "the database {database} is again what it was: the safety backup {path} was put back",
                database=name,
                path=path,
            )
        if self._stage == REPLACED:
            return msg(
                "the database {database} is restored and compared; there was nothing before it to go back to",
                database=name,
            )
        self._loader.drop(self._server.defaults)
        return msg("the database {database} is as empty as it was: nothing half-restored is left", database=name)

    def _stranded(self, error: BaseException) -> list[Message]:
        reason = error.message if isinstance(error, OperatorError) else _unexpected(error)
        what_to_do = msg(
            "the database {database} is incomplete and the application is stopped: remove the cause, then run"
            " restore.yml with -e backup={id} -e backup_restore_unverified=true -e confirm={database};"
            " its file is in {path}",
            database=self._wanted.name,
            id=str((self._way_back or self._plan.manifest)["id"]),
            path=self._wanted.directory,
        )
        return [msg("what was there could not be put back"), reason, what_to_do]

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
def _undisturbed() -> Iterator[None]:
    """Nothing but a kill ends what puts things back."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
