"""What git says of a directory, on repositories made for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.app import git as integrity
from orquestrador.core.messages import plain


def record(*parts: str) -> bytes:
    return b"".join(part.encode() + b"\0" for part in parts)


HEAD = ("# branch.oid 0123456789abcdef", "# branch.head main", "# branch.upstream origin/main", "# branch.ab +2 -1")


def test_a_status_is_read_with_its_hostile_names() -> None:
    output = record(
        *HEAD,
        "# stash 3",
        "1 .M N... 100644 100644 100644 aaa bbb a name with spaces",
        "2 R. N... 100644 100644 100644 aaa bbb R100 new name",
        "? not a record: this is where it was renamed from",
        "u UU N... 100644 100644 100644 100644 aaa bbb ccc in\nconflict",
        "? untracked/",
        "! ignored",
    )
    status = integrity.parse_status(output)
    assert (status.branch, status.upstream, status.ahead, status.behind, status.stashes) == (
        "main",
        "origin/main",
        2,
        1,
        3,
    )
    assert status.uncommitted == ("a name with spaces", "new name", "in\nconflict")
    assert status.untracked == ("untracked/",)


@pytest.mark.parametrize("output", [b"", b"\0", b"fatal: no", record(*HEAD, "1 short"), record("# branch.head main")])
def test_anything_else_is_no_status(output: bytes) -> None:
    with pytest.raises(ValueError):
        integrity.parse_status(output)


@given(st.binary() | st.lists(st.text()).map(lambda parts: record(*HEAD, *parts)))
def test_no_output_breaks_the_reading(output: bytes) -> None:
    try:
        integrity.parse_status(output)
    except ValueError:
        return


def git(place: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        **{f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    argv = ["git", "-C", str(place), "-c", "init.defaultBranch=main", *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(tmp_path, "clone", "-q", "remote.git", "clone")
    place = tmp_path / "clone"
    (place / "file").write_text("1")
    git(place, "add", "file")
    git(place, "commit", "-qm", "first, with password=hunter2hunter2")
    git(place, "push", "-q", "-u", "origin", "main")
    return place


def looked(place: Path) -> dict[str, Any]:
    return integrity.inspect(str(place), command="git", timeout_s=20)


def said(result: dict[str, Any]) -> str:
    note = result["note"]
    return "; ".join(plain(one) for one in (note if isinstance(note, list) else [note]))


def test_a_clean_clone_has_nothing_to_say(clone: Path) -> None:
    result = looked(clone)
    assert result["status"] == "ok"
    assert result["evidence"]["branch"] == "main"
    assert result["evidence"]["remote_heard_s"] is not None
    assert result["evidence"]["commits"][0]["subject"] == "first, with password=***"


def test_findings_are_counted(clone: Path) -> None:
    (clone / "file").write_text("2")
    for number in range(30):
        (clone / f"new {number}").write_text("")
    git(clone, "commit", "-q", "--allow-empty", "-m", "second")
    result = looked(clone)
    assert result["status"] == "warn"
    assert (result["evidence"]["uncommitted"], result["evidence"]["untracked"], result["evidence"]["unpushed"]) == (
        1,
        30,
        1,
    )
    assert len(result["evidence"]["untracked_paths"]) == integrity.LISTED
    git(clone, "stash", "-q")
    assert looked(clone)["evidence"]["stashes"] == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["checkout", "-q", "-b", "other"], "The branch other has no upstream"),
        (["checkout", "-q", "--detach"], "detached HEAD"),
        (["update-ref", "-d", "refs/remotes/origin/main"], "The upstream origin/main is gone"),
        (["remote", "remove", "origin"], "The repository has no remote"),
    ],
)
def test_what_can_not_be_compared_is_a_finding(clone: Path, arguments: list[str], text: str) -> None:
    git(clone, *arguments)
    result = looked(clone)
    assert result["status"] == "warn"
    assert text in said(result)


def test_no_commit_no_repository_no_directory_no_git(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "empty")
    assert "Nothing was committed yet" in said(looked(tmp_path / "empty"))
    (tmp_path / "plain").mkdir()
    assert looked(tmp_path / "plain")["evidence"] == {"repository": False}
    assert looked(tmp_path / "nowhere")["status"] == "unknown"
    assert integrity.inspect(str(tmp_path), command="git-is-not-here", timeout_s=5)["status"] == "unknown"


def test_a_damaged_repository_is_unknown(clone: Path) -> None:
    (clone / ".git" / "index").write_bytes(b"DIRC garbage")
    result = looked(clone)
    assert result["status"] == "unknown"
    assert "git can't read" in said(result)


def test_git_that_hangs_is_ended(tmp_path: Path) -> None:
    command = tmp_path / "slow"
    command.write_text("#!/bin/sh\nexec sleep 30\n")
    command.chmod(0o755)
    result = integrity.inspect(str(tmp_path), command=str(command), timeout_s=0.5)
    assert (result["status"], "did not answer" in said(result)) == ("unknown", True)
