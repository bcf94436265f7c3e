"""The lab's database comes from a suite that may be another one tomorrow, or broken today: both are said."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.unit.fakes.loading import load

SHARED = Path(__file__).resolve().parents[3] / "molecule" / "shared"
OWN = ("shell", "podman", "settings")  # what the lab's modules import of each other


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(SHARED / "lab"))
    for name in OWN:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield lambda name: load(f"molecule/shared/lab/{name}.py")
    for name in OWN:
        sys.modules.pop(name, None)


def settings_of(module: ModuleType, tmp_path: Path, database: str = "mysql") -> Any:
    import settings  # the lab's own

    made = settings.from_environment({"LAB_DATABASE": database, "LAB_CACHE_DIR": str(tmp_path)})
    return dataclasses.replace(made, state=tmp_path)


def failure(image: ModuleType, tmp_path: Path, output: str) -> str:
    """What is said of a build that prints ``output`` and fails."""
    podman = SimpleNamespace(argv=lambda *_, **__: ["bash", "-c", 'printf %s "$1"; exit 100', "build", output])
    with pytest.raises(image.LabError) as caught:
        image._build(settings_of(image, tmp_path), podman, tmp_path, "base", "image")
    return str(caught.value)


def test_a_broken_unstable_is_one_line_that_names_the_way_out(lab: Any, tmp_path: Path) -> None:
    image = lab("image")
    # Node's stage is built at the same time, and its output may come last.
    mixed = f"E: Unable to correct problems\n{image.NO_MYSQL}" + "npm notice\n" * 200 + "Error: building at STEP\n"
    said = failure(image, tmp_path, mixed)
    assert "LAB_DATABASE=mariadb" in said
    assert "Debian's unstable" in said
    assert str(tmp_path) in said
    assert "\n" not in said


def test_another_failure_is_not_blamed_on_it(lab: Any, tmp_path: Path) -> None:
    said = failure(lab("image"), tmp_path, "STEP 3/3: RUN database.sh mysql\nE: npm could not\n")
    assert "mariadb" not in said
    assert "exit 100" in said


@pytest.mark.parametrize(("database", "blamed"), [("mysql", True), ("mariadb", False)])
@pytest.mark.parametrize("fails", ["update", "install", "nothing"])
def test_the_script_of_the_image_says_that_it_was_unstable(
    lab: Any, tmp_path: Path, database: str, blamed: bool, fails: str
) -> None:
    """The script itself, its system's places moved into a directory and apt replaced by one that fails there."""
    script = (SHARED / "image" / "setup" / "database.sh").read_text(encoding="utf-8")
    for place in ("/etc/apt", "/var/lib", "/usr/sbin"):
        script = script.replace(place, f"{tmp_path}{place}")
    for place in ("etc/apt/sources.list.d", "etc/apt/preferences.d", "var/lib/mysql/mysql", "usr/sbin", "bin"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "var/lib/apt/lists").mkdir(parents=True)
    (tmp_path / "var/lib/apt/lists/x_Packages").touch()
    apt = tmp_path / "bin" / "apt-get"
    apt.write_text(f'#!/bin/sh\ncase " $* " in *" {fails} "*) echo "E: broken" >&2; exit 100 ;; esac\n')
    apt.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", script, "database.sh", database],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    failed = fails == "install" or (fails == "update" and database == "mysql")
    assert (done.returncode != 0) == failed
    assert done.stderr.endswith(lab("image").NO_MYSQL) == (failed and blamed)


@pytest.mark.parametrize(
    ("database", "said", "version"),
    [
        ("mysql", "/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))\n", "mysql 9.7.4-2"),
        (
            "mariadb",
            "mariadbd  Ver 11.8.3-MariaDB-0+deb13u1 from Debian for debian-linux-gnu on x86_64 (-- Please help)\n",
            "mariadb 11.8.3-MariaDB-0+deb13u1",
        ),
        ("mysql", "", "mysql of an unknown version"),
    ],
)
def test_the_version_is_told_and_recorded(lab: Any, tmp_path: Path, database: str, said: str, version: str) -> None:
    container = lab("container")
    asked: list[list[str]] = []

    def execute(_name: str, argv: list[str], **_: Any) -> SimpleNamespace:
        asked.append(argv)
        return SimpleNamespace(stdout=said)

    settings = settings_of(container, tmp_path, database)
    assert container.record_database_version(settings, SimpleNamespace(execute=execute)) == version
    assert (tmp_path / "database-version").read_text() == f"{version}\n"
    assert asked == [["mysqld" if database == "mysql" else "mariadbd", "--version"]]
    assert "database-version" in container.STATE_FILES  # so that `down` leaves nothing
