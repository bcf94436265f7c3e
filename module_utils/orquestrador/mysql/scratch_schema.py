"""Scratch schema on the production server, to restore into where no second server can be started.

The account has privileges on schemas with this prefix only, so that a dump cannot touch any other; its grants are
checked before each restore. It has no privileges for triggers, routines and events, which never enter a production
server. The binary log is off for its sessions, so that the restored rows do not reach replicas.
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
from .throwaway_server import CONNECT_S, GROWTH, Location, check_space

METHOD = "scratch_schema"
ACCOUNT = "orquestrador_verify"
PREFIX = "ops_verify_"
MARKER = ".scratch-"  # followed by the schema's name: a file that exists while the schema may
TIMEOUT_S = 300.0
_NAME = re.compile(PREFIX + r"\d{8}t\d{6}z_[0-9a-f]{6}")
_GRANT = re.compile(r"GRANT (.+?) ON (.+?) TO ")
_SCRATCH_GRANT = re.compile(r"`?ops\\?_verify\\?_%`?\.\*")
_ANYWHERE = {"USAGE", "SESSION_VARIABLES_ADMIN", "BINLOG ADMIN"}


def schema_name(backup_id: str) -> str:
    """Return the name of a backup's scratch schema."""
    return PREFIX + backup_id.lower().replace("-", "_")


@contextlib.contextmanager
def scratch_schema(
    directory: str, manifest: Mapping[str, Any], defaults_file: str, user: str, *, size_bytes: int, reserve_bytes: int
) -> Iterator[Location]:
    """Create an empty schema on the production server; drop it afterwards, or in the next run after a kill.

    :param defaults_file: option file of the operations account; ``user`` has the same server and password.
    :raises OperatorError: the account has too few or too many privileges, or there is too little free space.
    """
    name = schema_name(str(manifest["id"]))
    with closing(_connect(defaults_file, user)) as connection:
        _require_restricted(connection, user)
        _acquire_lock(connection)
        _drop_leftovers(connection)
        _check_server(connection, manifest, size_bytes, reserve_bytes)
        marker = os.path.join(directory, MARKER + name)
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        try:
            server = manifest["server"]
            _run(connection, lambda: create_schema(connection, name, server["charset"], server["collation"]))
            access = (f"--defaults-file={defaults_file}", f"--user={user}")
            yield Location(METHOD, name, access, lambda: _connect(defaults_file, user, name), ", sql_log_bin = 0")
        finally:
            _drop(defaults_file, user, name)
            os.unlink(marker)


def sweep_schemas(directory: str, defaults_file: str, user: str) -> None:
    """Drop the scratch schemas of killed runs; the caller holds the lock."""
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


def _require_restricted(connection: Any, user: str) -> None:
    """Raise :class:`OperatorError` for an account with other privileges: a dump is not trusted."""
    for (line,) in driver.rows(connection, "SHOW GRANTS"):
        match = _GRANT.match(str(line))
        rights = set(match.group(1).split(", ")) if match else set()
        is_scratch = match is not None and _SCRATCH_GRANT.fullmatch(match.group(2)) is not None
        is_harmless = match is not None and (rights == {"USAGE"} or (match.group(2) == "*.*" and rights <= _ANYWHERE))
        if not is_scratch and not is_harmless:
            raise OperatorError(
                msg(
                    "{user} has more privileges than a proof may have: run the setup playbook to revoke them", user=user
                )
            )


def _acquire_lock(connection: Any) -> None:
    """Acquire the server's lock for proofs; it ends with the connection."""
    if driver.rows(connection, "SELECT GET_LOCK('ops_verify', 0)")[0][0] != 1:
        raise OperatorError(msg("another proof runs on this database server: wait until it ends"))


def _drop_leftovers(connection: Any) -> None:
    for (name,) in driver.rows(
        connection, "SELECT SCHEMA_NAME FROM SCHEMATA WHERE SCHEMA_NAME LIKE 'ops\\_verify\\_%'"
    ):
        if _NAME.fullmatch(str(name)):
            _run(connection, lambda name=name: drop_schema(connection, str(name)))


def _check_server(connection: Any, manifest: Mapping[str, Any], size_bytes: int, reserve_bytes: int) -> None:
    ((version, comment, data_directory),) = driver.rows(connection, "SELECT VERSION(), @@version_comment, @@datadir")
    product = PRODUCTS[driver.product_of(str(version), str(comment)).name].name
    if product != manifest["server"]["product"]:
        source = str(manifest["server"]["product"])
        raise OperatorError(
            msg(
                "the backup is of {product}, but {other} runs here: prove it on a host with its product",
                product=source,
                other=product,
            )
        )
    with contextlib.suppress(OSError):  # a directory without access, or a remote server
        check_space(str(data_directory), int(size_bytes * GROWTH), reserve_bytes)


def _drop(defaults_file: str, user: str, name: str) -> None:
    """Drop a schema over a new connection: the first one may have timed out."""
    with closing(_connect(defaults_file, user)) as connection:
        _run(connection, lambda: drop_schema(connection, name))
