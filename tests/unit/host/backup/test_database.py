"""A backup of a database that can't be made leaves nothing that looks like one, and says why in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from orquestrador.backup import database
from orquestrador.backup.session import Limits
from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain
from tests.unit.fakes import servers

Keys = tuple[str, str]


def option_file(tmp_path: Path, port: int) -> str:
    path = tmp_path / "ops.cnf"
    path.write_text(f"[client]\nuser=ops\npassword={servers.SECRET}\nhost=127.0.0.1\nport={port}\n")
    path.chmod(0o600)
    return str(path)


def back_up(place: Path, defaults_file: str, recipient: str, *, check_mode: bool = False) -> None:
    options = {"defaults_file": defaults_file, "name": "app", "recipient": recipient}
    database.back_up(str(place), limits=Limits(0, 20.0, 20.0), check_mode=check_mode, **options)


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("answer", [servers.mysql_refusal(1045), b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 64])
def test_a_server_that_refuses_or_is_none(tmp_path: Path, keys: Keys, answer: bytes, check_mode: bool) -> None:
    place = tmp_path / "backups"
    with servers.tcp(servers.answering(answer, read=False)) as port, pytest.raises(OperatorError) as raised:
        back_up(place, option_file(tmp_path, port), keys[1], check_mode=check_mode)
    said = plain(raised.value.message)
    assert "\n" not in said
    assert servers.SECRET not in said
    assert not place.exists() or [one.name for one in place.iterdir() if one.suffix in (".age", ".json")] == []


def test_nobody_is_asked_with_a_private_key_as_recipient(tmp_path: Path, keys: Keys) -> None:
    with pytest.raises(OperatorError, match="is a private key"):
        back_up(tmp_path / "backups", str(tmp_path / "none.cnf"), keys[0])
    assert not (tmp_path / "backups").exists()


def test_without_an_option_file_no_server_is_asked(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"none\.cnf"):
        database.inspect_source(str(tmp_path / "none.cnf"), "app")
