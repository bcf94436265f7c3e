"""Ansible configured by somebody else's ansible.cfg: one line says what it lacks, before anything is looked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*/*.yml"))
DAILY = ROOT / "playbooks" / "routine" / "daily.yml"
FOLDERS = ("roles", "library", "module_utils", "action_plugins", "filter_plugins")
SETTINGS = {("roles_path" if folder == "roles" else folder): ROOT / folder for folder in FOLDERS}


def checked(cwd: Path, *argv: str, playbook: Path = DAILY, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "web-01,", "--syntax-check", playbook, *argv],
        cwd=cwd,
        env={**inherited, "HOME": str(cwd), "ANSIBLE_HOME": str(cwd / "ansible"), "COLUMNS": "999", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def configuration(path: Path, settings: dict[str, Path]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[defaults]\nnocows = 1\n" + "".join(f"{name} = {place}\n" for name, place in settings.items()))
    return path


def assert_told(done: subprocess.CompletedProcess[str], file: Path | str, lacking: list[str]) -> None:
    assert done.returncode != 0
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("[ERROR]"))
    assert f"directories ({', '.join(lacking)})" in line
    assert f"as told by {file}" in line
    assert f"ANSIBLE_CONFIG={ROOT}/ansible.cfg" in line
    assert "Traceback" not in done.stderr


EXHAUST = pytest.mark.exhaust  # which of them Ansible takes is its own affair


@pytest.mark.parametrize(
    "place",
    ["ansible.cfg", pytest.param(".ansible.cfg", marks=EXHAUST), pytest.param("elsewhere/mine.cfg", marks=EXHAUST)],
)
def test_a_configuration_that_knows_nothing_of_the_project(tmp_path: Path, place: str) -> None:
    """In the working directory, in the home directory, or named by the environment."""
    file = configuration(tmp_path / place, {})
    done = checked(tmp_path, **({"ANSIBLE_CONFIG": str(file)} if place.startswith("elsewhere") else {}))
    assert_told(done, file, list(SETTINGS))


def test_none_at_all(tmp_path: Path) -> None:
    assert_told(checked(tmp_path), "no configuration file", list(SETTINGS))


def test_one_that_lacks_some_of_them_is_told_which(tmp_path: Path) -> None:
    lacking = ["module_utils", "filter_plugins"]
    settings = {name: place for name, place in SETTINGS.items() if name not in lacking}
    assert_told(checked(configuration(tmp_path / "ansible.cfg", settings).parent), tmp_path / "ansible.cfg", lacking)


def test_the_environment_that_overrides_the_projects_own(tmp_path: Path) -> None:
    done = checked(tmp_path, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_LIBRARY=str(tmp_path))
    assert_told(done, ROOT / "ansible.cfg", ["library"])


def test_a_playbook_of_ones_own_that_imports_one(tmp_path: Path) -> None:
    own = tmp_path / "mine.yml"
    own.write_text(json.dumps([{"import_playbook": str(DAILY)}]))
    file = configuration(tmp_path / "ansible.cfg", {})
    assert_told(checked(tmp_path, playbook=own), file, list(SETTINGS))
    assert checked(tmp_path, playbook=own, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg")).returncode == 0


def test_one_that_names_them_beside_others_is_taken(tmp_path: Path) -> None:
    (tmp_path / "project").symlink_to(ROOT)
    settings = {name: Path(f"/srv/x:{tmp_path}/project/{place.name}") for name, place in SETTINGS.items()}
    done = checked(configuration(tmp_path / "ansible.cfg", settings).parent)
    assert done.returncode == 0, done.stderr


def test_a_checkout_whose_directories_are_links_is_one(tmp_path: Path) -> None:
    for name in ("ansible.cfg", "playbooks", *FOLDERS):
        (tmp_path / name).symlink_to(ROOT / name)
    done = checked(tmp_path, playbook=tmp_path / "playbooks" / "routine" / "daily.yml")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_every_playbook_asks_first(playbook: Path) -> None:
    first = next(play["tasks"][0] for play in yaml.safe_load(playbook.read_text(encoding="utf-8")) if "tasks" in play)
    assert first["ansible.builtin.import_tasks"] == "../../roles/report/tasks/configured.yml"
    assert len(PLAYBOOKS) > 15
