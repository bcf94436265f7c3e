"""The integration tests' scenarios: all of them are run, side by side, and every directory of tests belongs to one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
MOLECULE = ROOT / "molecule"
SCENARIOS = {path.parent.name: yaml.safe_load(path.read_text()) for path in MOLECULE.glob("*/molecule.yml")}
SHARED = yaml.safe_load((ROOT / ".config" / "molecule" / "config.yml").read_text())


def given(name: str) -> dict[str, str]:
    return {**SHARED["ansible"]["env"], **SCENARIOS[name]["ansible"]["env"]}


def sequence(name: str) -> list[str]:
    found: list[str] = {**SHARED["scenario"], **SCENARIOS[name].get("scenario", {})}["test_sequence"]
    return found


def directories(name: str) -> set[str]:
    verifier: dict[str, Any] = {**SHARED["verifier"], **SCENARIOS[name].get("verifier", {})}
    more = [f"{verifier['directory']}/{place}" for place in verifier.get("additional_files_or_dirs", [])]
    return {str((MOLECULE / name / place).resolve()) for place in [verifier["directory"], *more]}


def test_all_of_them_are_run() -> None:
    script = (ROOT / "tools" / "molecule.sh").read_text(encoding="utf-8")
    (told,) = re.findall(r"set -- ([a-z ]+)$", script, re.M)
    assert sorted(told.split()) == sorted(SCENARIOS)


def test_two_can_run_side_by_side() -> None:
    ports = [given(name)[port] for name in SCENARIOS for port in ("LAB_SSH_PORT", "LAB_APP_PORT")]
    assert len(set(ports)) == 2 * len(SCENARIOS)


def test_every_directory_of_tests_belongs_to_a_scenario() -> None:
    found = {str(path.parent) for path in (MOLECULE / "shared" / "tests").rglob("test_*.py")}
    assert found == set().union(*(directories(name) for name in SCENARIOS))


def test_the_bootstrap_is_tested_with_each_database_and_elsewhere_it_has_been_run() -> None:
    assert {given(name)["LAB_DATABASE"] for name in SCENARIOS if "converge" in sequence(name)} == {"mysql", "mariadb"}
    for name in SCENARIOS:
        bootstraps = "converge" in sequence(name)
        assert given(name)["LAB_PREPARED"] == ("0" if bootstraps else "1"), name
        assert ("idempotence" in sequence(name)) is bootstraps, name
