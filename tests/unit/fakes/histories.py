"""Histories to write samples into: SQLite always, a throwaway MariaDB or MySQL server where one is installed."""

from __future__ import annotations

import getpass
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest

from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.store import History

_NUMBERS = itertools.count(1)


def _install(daemon: str, data: str, me: str) -> list[str]:
    """How a server's empty data directory is made: MySQL does it itself."""
    said = subprocess.run([daemon, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
    if "MariaDB" not in said:
        return [daemon, "--no-defaults", "--initialize-insecure", f"--datadir={data}", f"--user={me}"]
    own = [f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db", f"--user={me}"]
    return ["mariadb-install-db", "--no-defaults", *own]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The socket of a server of its own, which ends with the tests."""
    daemon = shutil.which("mysqld", path=f"{os.environ['PATH']}:/usr/sbin:/usr/libexec")
    if daemon is None:
        pytest.skip("no database server is installed here")
    me = getpass.getuser()
    with tempfile.TemporaryDirectory(prefix="orquestrador-db-", ignore_cleanup_errors=True) as place:
        data, socket = f"{place}/data", f"{place}/s"
        subprocess.run(_install(daemon, data, me), check=True, capture_output=True, timeout=120)
        with Path(f"{place}/log").open("wb") as log:
            running = subprocess.Popen(
                [
                    daemon,
                    "--no-defaults",
                    f"--datadir={data}",
                    f"--socket={socket}",
                    "--skip-networking",
                    f"--user={me}",
                    f"--pid-file={place}/pid",
                    "--innodb-flush-log-at-trx-commit=0",
                    "--loose-mysqlx=OFF",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            for _ in range(600):
                if Path(socket).exists():
                    break
                assert running.poll() is None, Path(f"{place}/log").read_text()
                time.sleep(0.05)
            yield socket
        finally:
            running.terminate()
            running.wait(30)


@pytest.fixture
def mysql_url(server: str) -> Iterator[str]:
    """A history URL of an empty schema on the server."""
    name = f"ops_{os.getpid()}_{next(_NUMBERS)}"
    with pymysql.connect(user="root", unix_socket=server) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield f"mysql+pymysql://root@localhost/{name}?unix_socket={server}"
    with pymysql.connect(user="root", unix_socket=server) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")


Opener = Callable[[], History]


@pytest.fixture(params=["sqlite", "mysql"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same history each time."""
    url = request.getfixturevalue("mysql_url") if request.param == "mysql" else None
    return lambda: open_history(tmp_path / "state", url)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[History]:
    """An empty history in SQLite."""
    with open_history(tmp_path / "state") as opened:
        yield opened
