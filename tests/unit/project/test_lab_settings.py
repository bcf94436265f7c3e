"""What the environment may say of a lab, and what is said about what it may not."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.fakes.loading import load

LAB = Path(__file__).resolve().parents[3] / "molecule" / "shared" / "lab"


@pytest.fixture(scope="module")
def settings() -> ModuleType:
    return load("molecule/shared/lab/settings.py")


def test_the_lab_is_what_the_documentation_says(settings: ModuleType) -> None:
    lab = settings.from_environment({})
    assert (lab.name, lab.ssh_port, lab.app_port, lab.database) == ("orquestrador-lab", 2222, 3001, "mysql")
    assert lab.state.parts[-3:] == ("var", "lab", "orquestrador-lab")


def test_secrets_of_other_labs_stay_in_their_own_state(settings: ModuleType, tmp_path: Path) -> None:
    other = settings.from_environment({"LAB_NAME": "orquestrador-test-x", "LAB_STATE_DIR": str(tmp_path)})
    assert other.vault_file.is_relative_to(tmp_path)
    assert not settings.from_environment({}).vault_file.is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LAB_NAME", "mine"),
        ("LAB_NAME", "orquestrador-"),
        ("LAB_NAME", "orquestrador-a b"),
        ("LAB_DATABASE", "postgres"),
        ("LAB_SSH_PORT", "0"),
        ("LAB_SSH_PORT", "65536"),
        ("LAB_APP_PORT", "http"),
        ("LAB_APP_PORT", "-1"),
    ],
)
def test_what_can_not_be_used_is_named_in_one_line(settings: ModuleType, variable: str, value: str) -> None:
    with pytest.raises(settings.LabError) as caught:
        settings.from_environment({variable: value})
    assert variable in str(caught.value)
    assert "\n" not in str(caught.value)
