"""A build that fails leaves what the application runs from exactly as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orquestrador.app.build import Build, build
from orquestrador.app.dist import DeployError, digest
from orquestrador.core.messages import plain


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/index.js").write_text("old")
    return tmp_path


def run(app: Path, command: Any, *, check_mode: bool = False) -> dict[str, Any]:
    wanted = Build(str(app), command, str(app / "dist"), str(app / "state"), timeout_s=30)
    return build(wanted, check_mode=check_mode)


def test_what_was_built_is_told_with_a_way_back(app: Path) -> None:
    command = ["/bin/sh", "-c", "echo built; echo new > dist/index.js"]
    before = digest(str(app / "dist"))
    assert run(app, command, check_mode=True)["changed"]
    assert digest(str(app / "dist")) == before
    done = run(app, command)
    evidence = done["evidence"]
    assert done["changed"]
    assert (evidence["sha256_before"], evidence["sha256_after"]) == (before, digest(str(app / "dist")))
    assert evidence["way_back"]
    assert "built" in evidence["last_lines"]
    assert not run(app, command)["changed"]  # the same again


@pytest.mark.parametrize(
    ("script", "said"), [("echo half > dist/index.js; exit 3", "status 3"), ("rm -r dist", "left nothing")]
)
def test_a_build_that_fails_is_undone(app: Path, script: str, said: str) -> None:
    before = digest(str(app / "dist"))
    with pytest.raises(DeployError) as raised:
        run(app, ["/bin/sh", "-c", script])
    assert said in plain(raised.value.message)
    assert digest(str(app / "dist")) == before


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "is empty"),
        ([], "is empty"),
        ("npm run 'build", "can't be read"),
        ("no-such-program --x", "is not installed"),
        ("./none.sh", "does not exist"),
        ("./dist", "does not exist"),
        ("npm run build", "has no package.json"),
    ],
)
def test_a_command_that_cannot_run_is_refused_before_anything_is_done(app: Path, command: Any, said: str) -> None:
    with pytest.raises(DeployError) as raised:
        run(app, command)
    assert said in plain(raised.value.message)
    assert not (app / "state").exists()
