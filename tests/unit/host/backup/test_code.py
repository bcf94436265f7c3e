"""A backup of the application's directory: encrypted, proven by being read again, refuted when its file is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orquestrador.backup import code
from orquestrador.backup.session import Limits
from orquestrador.backup.store import RefutedError, list_backups
from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain

Keys = tuple[str, str]


def back_up(app: Path, keys: Keys, **changed: Any) -> dict[str, Any]:
    options = {"source": str(app), "exclude": ["node_modules"], "identity": keys[0], "recipient": keys[1]}
    place = changed.pop("place", app.parent / "backups")
    return code.back_up(str(place), **{**options, "limits": Limits(0, 60.0, 60.0), **changed})


def verify(place: Path, keys: Keys) -> dict[str, Any]:
    return code.verify(str(place), backup="latest", identity=keys[0], timeout_s=60.0, stall_s=60.0)


def test_a_backup_is_proven_and_shows_nothing_of_what_it_holds(app: Path, keys: Keys) -> None:
    made = back_up(app, keys)
    manifest = made["backup"]
    assert manifest["counts"] == {"files": 2, "directories": 1, "links": 1}
    assert manifest["verified"]["method"] == "listing"
    assert all(b"hunter2secret" not in path.read_bytes() for path in (app.parent / "backups").iterdir())
    assert verify(app.parent / "backups", keys)["backup"]["verified"]["files"] == len(manifest["files"]) == 4
    said = [plain(one) for one in code.describe(manifest, made["path"])]
    assert said[-1] == "read back and identical to the source"


def test_a_damaged_file_is_refuted_and_another_key_proves_nothing(app: Path, keys: Keys) -> None:
    path = Path(back_up(app, keys, identity=None)["path"])
    other = "AGE-SECRET-KEY-1" + "Q" * 58
    with pytest.raises(OperatorError) as raised:
        verify(path.parent, (other, ""))
    assert not isinstance(raised.value, RefutedError)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(RefutedError):
        verify(path.parent, keys)
    assert list_backups(str(path.parent), "code")[0]["verified"] is None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc"])
def test_what_is_left_out_is_a_name_of_the_directory_itself(app: Path, keys: Keys, name: str) -> None:
    with pytest.raises(OperatorError, match="without a slash"):
        back_up(app, keys, exclude=[name])


def test_backups_do_not_go_into_what_is_backed_up(app: Path, keys: Keys) -> None:
    with pytest.raises(OperatorError, match="is inside the directory that is backed up"):
        back_up(app, keys, place=app / "src" / "backups")
    assert not (app / "src" / "backups").exists()


def test_check_mode_and_a_private_key_as_recipient_leave_nothing(app: Path, keys: Keys) -> None:
    assert back_up(app, keys, check_mode=True)["files"] == 4
    with pytest.raises(OperatorError, match="is a private key"):
        back_up(app, keys, recipient=keys[0])
    assert not (app.parent / "backups").exists()
