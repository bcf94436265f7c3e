"""A scratch schema on the server in production: for an account that can touch nothing else, and gone afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain
from orquestrador.mysql import driver
from orquestrador.mysql import scratch_schema as scratch
from tests.unit.fakes import servers

MANIFEST = {
    "id": "20260102T030405Z-0a1b2c",
    "server": {"product": "mysql", "charset": "utf8mb4", "collation": "utf8mb4_bin"},
}
NAME = "ops_verify_20260102t030405z_0a1b2c"
OWN = "GRANT ALL PRIVILEGES ON `ops\\_verify\\_%`.* TO `orquestrador_verify`@`localhost`"
NOTHING = "GRANT USAGE ON *.* TO `orquestrador_verify`@`localhost`"


class Connection:
    """A server that answers what is asked of it, and remembers the rest."""

    def __init__(self, grants: list[str], *, free: int = 1, version: str = "8.4.3") -> None:
        self._answers: dict[str, Any] = {"SHOW GRANTS": grants, "SELECT GET_LOCK": [free]}
        self._answers["SELECT SCHEMA_NAME"] = [NAME, "ops_verify_accounts"]
        self._version, self._found, self.asked = version, [], []

    def cursor(self) -> Connection:
        return self

    def execute(self, statement: str, _values: Any = None) -> None:
        self.asked.append(statement)
        self._found = [(self._version, "MySQL", "/nowhere")] if statement.startswith("SELECT VERSION") else []
        for begin, found in self._answers.items():
            if statement.startswith(begin):
                self._found = [(one,) for one in found]

    def fetchall(self) -> list[Any]:
        return self._found

    def close(self) -> None:
        pass

    def __iter__(self) -> Any:
        return iter(self._found)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def option_file(tmp_path: Path, port: int = 1) -> str:
    path = tmp_path / "ops.cnf"
    path.write_text(f"[client]\nuser=ops\npassword={servers.SECRET}\nhost=127.0.0.1\nport={port}\n")
    path.chmod(0o600)
    return str(path)


Use = Callable[..., list[str]]


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Have the schema on a server with these grants; what was asked of it."""

    def used(*grants: str, **options: Any) -> list[str]:
        connection = Connection(list(grants), **options)
        monkeypatch.setattr(driver, "connect", lambda *_, **__: connection)
        sizes = {"size_bytes": 1, "reserve_bytes": 0}
        with scratch.scratch_schema(str(tmp_path), MANIFEST, option_file(tmp_path), "ops", **sizes) as place:
            assert place.schema == NAME
            assert (tmp_path / f"{scratch.MARKER}{NAME}").exists()  # for whoever sweeps after a kill
        return connection.asked

    return used


def test_it_is_created_past_the_binary_log_and_dropped(use: Use, tmp_path: Path) -> None:
    asked = use(NOTHING, OWN)
    changed = [one for one in asked if one.startswith(("CREATE", "DROP"))]
    assert all(NAME in one for one in changed)
    assert [one.split()[0] for one in changed] == ["DROP", "CREATE", "DROP"]  # the first: what a killed run left
    assert asked[0] == "SET SESSION sql_log_bin = 0"
    assert [path.name for path in tmp_path.iterdir()] == ["ops.cnf"]


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT SELECT ON *.* TO `ops`@`%`",
        "GRANT ALL PRIVILEGES ON `ops_verify_x`.* TO `ops`@`%`",
        "GRANT ALL PRIVILEGES ON `%`.* TO `ops`@`%`",
        "GRANT `admin`@`%` TO `ops`@`%`",
        "",
    ],
)
def test_an_account_that_could_touch_more_is_refused_before_anything_is_changed(
    use: Use, tmp_path: Path, grant: str
) -> None:
    with pytest.raises(OperatorError, match="more privileges than a proof may have"):
        use(OWN, grant)
    assert [path.name for path in tmp_path.iterdir()] == ["ops.cnf"]


@pytest.mark.parametrize(
    ("options", "said"), [({"free": 0}, "another proof"), ({"version": "11.8-MariaDB"}, "mariadb")]
)
def test_another_proof_or_another_product_is_a_reason_not_to(use: Use, options: dict[str, Any], said: str) -> None:
    with pytest.raises(OperatorError, match=said):
        use(OWN, **options)


def test_a_server_that_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    with servers.tcp(servers.answering(servers.mysql_refusal(1045), read=False)) as port:
        place = option_file(tmp_path, port)
        with (
            pytest.raises(OperatorError) as raised,
            scratch.scratch_schema(str(tmp_path), MANIFEST, place, "ops", size_bytes=1, reserve_bytes=0),
        ):
            pass
    assert "ops can't log in to the database" in plain(raised.value.message)
    assert servers.SECRET not in plain(raised.value.message)


def test_only_markers_of_scratch_schemas_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection([])
    monkeypatch.setattr(driver, "connect", lambda *_, **__: connection)
    names = [f"{scratch.MARKER}{NAME}", f"{scratch.MARKER}app", f"{scratch.MARKER}{NAME}`; DROP DATABASE app", NAME]
    for name in names:
        (tmp_path / name).touch()
    scratch.sweep_schemas(str(tmp_path), option_file(tmp_path), "ops")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[1:], "ops.cnf"])
    assert [one for one in connection.asked if one.startswith("DROP")] == [f"DROP DATABASE IF EXISTS `{NAME}`"]
