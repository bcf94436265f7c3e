"""Restored files are those of the backup, and what was there before can be had again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orquestrador.app import critical_files
from orquestrador.backup import code, restore_files
from orquestrador.backup.restore_files import RestoreRequest
from orquestrador.backup.session import Limits
from orquestrador.backup.store import list_backups
from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain

LIMITS = Limits(0, 60.0, 60.0)
Keys = tuple[str, str]


@pytest.fixture
def wanted(app: Path, keys: Keys) -> RestoreRequest:
    """What restores a proven backup of the application."""
    place, (identity, recipient) = str(app.parent / "backups"), keys
    names = {"source": str(app), "exclude": ["node_modules"]}
    code.back_up(place, identity=identity, recipient=recipient, limits=LIMITS, **names)
    return RestoreRequest(place, "latest", str(app), ["node_modules"], identity, recipient, False, False)


def spoil(app: Path) -> None:
    (app / ".env").write_text("PASSWORD=\n")
    (app / "src" / "link").unlink()
    (app / "new.js").write_text("since then")


def test_code_comes_back_as_it_was_and_what_there_was_is_saved(app: Path, wanted: RestoreRequest) -> None:
    spoil(app)
    would = restore_files.restore_code(wanted, LIMITS, check_mode=True)
    assert would["changes"] == {"added": ["src/link"], "changed": [".env"], "removed": ["new.js"]}
    assert (app / "new.js").exists()
    done = restore_files.restore_code(wanted, LIMITS)
    assert done["changes"] == would["changes"]
    assert (app / ".env").read_text() == "PASSWORD=hunter2secret\n"
    assert (app / "src" / "link").is_symlink()
    assert not (app / "new.js").exists()
    assert (app / "node_modules" / "left-out.js").exists()  # not in the backup, and left alone
    saved = {one["file"]: one for one in list_backups(wanted.directory, "code")}[Path(done["safety"]).name]
    assert saved["purpose"] == "safety"
    assert "new.js" in saved["files"]
    assert not restore_files.restore_code(wanted, LIMITS)["changed"]


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "20260102T030405Z-0a1b2c", "\x1b[31m"])
def test_a_backup_that_is_not_there_changes_nothing(app: Path, wanted: RestoreRequest, name: str) -> None:
    spoil(app)
    with pytest.raises(OperatorError):
        restore_files.restore_code(wanted._replace(backup=name), LIMITS)
    assert (app / "new.js").exists()


def test_a_restore_has_to_be_confirmed_by_name() -> None:
    restore_files.require_confirmation("app", "app")
    for given in ("", "App", "app "):
        with pytest.raises(OperatorError, match="confirm=app"):
            restore_files.require_confirmation(given, "app")


def critical(app: Path, *names: str, wanted: str = "latest") -> dict[str, Any]:
    files = [{"name": "env", "path": str(app / ".env")}]
    return restore_files.restore_critical(files, str(app.parent / "copies"), names=names, copy_name=wanted)


def test_a_critical_file_comes_back_from_its_copy(app: Path) -> None:
    critical_files.copy_all([{"name": "env", "path": str(app / ".env"), "required": True}], str(app.parent / "copies"))
    (copy,) = (app.parent / "copies" / "env").iterdir()
    spoil(app)
    assert critical(app, wanted=copy.name)["changed"]
    assert (app / ".env").read_text() == "PASSWORD=hunter2secret\n"
    assert len(list((app.parent / "copies" / "env").iterdir())) == 2  # what was there is a copy by now
    copy.write_text("damaged")
    assert "is damaged" in plain(critical(app, wanted=copy.name)["failures"][0])


@pytest.mark.parametrize("name", ["..", "passwd", "\x1b[31m"])
def test_a_name_that_is_no_critical_file_is_refused(app: Path, name: str) -> None:
    (failure,) = critical(app, name)["failures"]
    assert "is no critical file" in plain(failure)
