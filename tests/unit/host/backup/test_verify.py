"""A proof of a database's backup: what can't be proven is not called proven, and nothing wild is believed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from orquestrador.backup.session import Limits
from orquestrador.backup.store import list_backups
from orquestrador.backup.verify import verify
from orquestrador.core.errors import OperatorError

ID = "20260102T030405Z-0a1b2c"
KEY = "AGE-SECRET-KEY-1X"


def a_backup(directory: Path, **changed: Any) -> None:
    file = f"{ID}.sql.zst.age"
    (directory / file).write_bytes(b"no age file")
    digest = hashlib.sha256(b"no age file").hexdigest()
    manifest = {"format": 1, "kind": "database", "id": ID, "file": file, "database": "app", "verified": None}
    server = {"product": "mysql", "lower_case_table_names": 0, "size_bytes": 1}
    facts = {"server": server, "sha256": digest, "bytes_file": 11, "bytes_dump": 1, "tables": {}, "structure": {}}
    (directory / f"{ID}.json").write_text(json.dumps({**manifest, **facts, **changed}))


def prove(directory: Path, wanted: str = "latest", *, identity: str = KEY, check_mode: bool = False) -> dict[str, Any]:
    return verify(str(directory), backup=wanted, identity=identity, limits=Limits(0, 5.0, 5.0), check_mode=check_mode)


def test_there_is_nothing_to_prove_where_no_backup_was_made(tmp_path: Path) -> None:
    assert prove(tmp_path, "", check_mode=True) == {"changed": True, "backup": {}, "path": str(tmp_path)}
    with pytest.raises(OperatorError, match="no backup was made"):
        prove(tmp_path, "")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"server": {"product": "oracle"}}, "unknown database product"),
        ({"sha256": "0" * 64}, "is damaged"),
    ],
)
def test_what_is_wrong_with_a_backup_is_said_and_it_stays_unproven(
    tmp_path: Path, changed: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "mysqldump").write_text("#!/bin/sh\necho 'mysqldump  Ver 8.4.3 for Linux on x86_64'\n")
    (programs / "mysqldump").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    place = tmp_path / "backups"
    place.mkdir()
    a_backup(place, **changed)
    with pytest.raises(OperatorError, match=said):
        prove(place)
    assert list_backups(str(place))[0]["verified"] is None
    assert prove(place, check_mode=True)["backup"]["id"] == ID


@pytest.mark.parametrize("identity", ["", "age1x", "hunter2secret"])
def test_a_key_that_is_none_is_refused_without_being_quoted(tmp_path: Path, identity: str) -> None:
    with pytest.raises(OperatorError) as raised:
        prove(tmp_path, identity=identity)
    assert "hunter2secret" not in str(raised.value)
