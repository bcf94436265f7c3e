"""A schema beside the one in production, to restore into where no second server can be started.

Reached by an account that has rights on schemas of this name only, so that nothing a dump holds can touch another: that
is looked at in its grants before anything is restored. Without rights for triggers, routines and events, none of which
is brought into a server in production; and past the binary log, which would carry the restored rows to replicas.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.errors import OperatorError
from ..core.messages import msg
from ..system.files import FILE_MODE
from . import driver
from .clients import PRODUCTS
from .statements import closing, create_schema, drop_schema
from .throwaway_server import CONNECT_S, GROWTH, Place, check_room

METHOD = "scratch_schema"
ACCOUNT = "orquestrador_verify"
PREFIX = "ops_verify_"
MARKER = ".scratch-"  # and the schema's name: a file that lasts as long as the schema may
TIMEOUT_S = 300.0
_NAME = re.compile(PREFIX + r"\d{8}t\d{6}z_[0-9a-f]{6}")
_GRANT = re.compile(r"GRANT (.+?) ON (.+?) TO ")
_OWN = re.compile(r"`?ops\\?_verify\\?_%`?\.\*")
_ANYWHERE = {"USAGE", "SESSION_VARIABLES_ADMIN", "BINLOG ADMIN"}


def schema_name(backup_id: str) -> str:
    """The scratch schema of a backup."""
    return PREFIX + backup_id.lower().replace("-", "_")


@contextlib.contextmanager
def scratch_schema(
    directory: str, manifest: Mapping[str, Any], defaults_file: str, user: str, *, size_bytes: int, reserve_bytes: int
) -> Iterator[Place]:
    """An empty schema on the server in production; dropped afterwards, after a kill by the next run.

    :param defaults_file: option file of the operations account, whose server and password ``user`` shares.
    :raises OperatorError: the account may do too little or too much, or there is no room.
    """
    name = schema_name(str(manifest["id"]))
    with closing(_connect(defaults_file, user)) as connection:
        _restricted(connection, user)
        _alone(connection)
        _drop_left(connection)
        _fits(connection, manifest, size_bytes, reserve_bytes)
        marker = os.path.join(directory, MARKER + name)
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        try:
            server = manifest["server"]
            _run(connection, lambda: create_schema(connection, name, server["charset"], server["collation"]))
            access = (f"--defaults-file={defaults_file}", f"--user={user}")
            yield Place(METHOD, name, access, lambda: _connect(defaults_file, user, name), ", sql_log_bin = 0")
        finally:
            _drop(defaults_file, user, name)
            os.unlink(marker)


def sweep_schemas(directory: str, defaults_file: str, user: str) -> None:
    """Under the lock: drop the scratch schemas that killed runs left."""
    for entry in os.listdir(directory):
        name = entry[len(MARKER) :]
        if entry.startswith(MARKER) and _NAME.fullmatch(name) and defaults_file:
            _drop(defaults_file, user, name)
            os.unlink(os.path.join(directory, entry))


def _connect(defaults_file: str, user: str, schema: str = "information_schema") -> Any:
    try:
        defaults, _ = driver.read_defaults(defaults_file)
        options = {"user": user, "charset": "utf8mb4", "connect_timeout": CONNECT_S}
        connection = driver.connect(defaults, schema, TIMEOUT_S, **options)
        _run(connection, lambda: driver.rows(connection, "SET SESSION sql_log_bin = 0"))
    except OperatorError:
        raise
    except Exception as error:
        reason = driver.reason_of(error)
        raise OperatorError(
            msg("{user} can't log in to the database: {reason}: run the setup playbook", user=user, reason=reason)
        ) from error
    return connection


def _run(connection: Any, work: Any) -> None:
    try:
        work()
    except Exception as error:
        with contextlib.suppress(Exception):
            connection.close()
        raise OperatorError(
            msg("a scratch schema can't be used: {reason}: run the setup playbook", reason=driver.reason_of(error))
        ) from error


def _restricted(connection: Any, user: str) -> None:
    """Refuse an account that could touch anything else: what is restored is not to be trusted."""
    for (line,) in driver.rows(connection, "SHOW GRANTS"):
        found = _GRANT.match(str(line))
        rights = set(found.group(1).split(", ")) if found else set()
        own = found is not None and _OWN.fullmatch(found.group(2)) is not None
        nothing = found is not None and (rights == {"USAGE"} or (found.group(2) == "*.*" and rights <= _ANYWHERE))
        if not own and not nothing:
            raise OperatorError(
                msg("{user} has more rights than a proof may have: run the setup playbook to take them away", user=user)
            )


def _alone(connection: Any) -> None:
    """One proof at a time on a server; the lock ends with the connection, however that happens."""
    if driver.rows(connection, "SELECT GET_LOCK('ops_verify', 0)")[0][0] != 1:
        raise OperatorError(msg("another proof is at work on this database server: wait"))


def _drop_left(connection: Any) -> None:
    for (name,) in driver.rows(
        connection, "SELECT SCHEMA_NAME FROM SCHEMATA WHERE SCHEMA_NAME LIKE 'ops\\_verify\\_%'"
    ):
        if _NAME.fullmatch(str(name)):
            _run(connection, lambda name=name: drop_schema(connection, str(name)))


def _fits(connection: Any, manifest: Mapping[str, Any], size_bytes: int, reserve_bytes: int) -> None:
    ((version, comment, place),) = driver.rows(connection, "SELECT VERSION(), @@version_comment, @@datadir")
    product = PRODUCTS[driver.product_of(str(version), str(comment)).name].name
    if product != manifest["server"]["product"]:
        theirs = str(manifest["server"]["product"])
        raise OperatorError(
            msg("the backup is of {product}, but {other} runs here: prove it elsewhere", product=theirs, other=product)
        )
    with contextlib.suppress(OSError):  # a directory that can't be looked at, or a server elsewhere
        check_room(str(place), int(size_bytes * GROWTH), reserve_bytes)


def _drop(defaults_file: str, user: str, name: str) -> None:
    """Over a connection of its own: the other one may have been idle for too long."""
    with closing(_connect(defaults_file, user)) as connection:
        _run(connection, lambda: drop_schema(connection, name))
