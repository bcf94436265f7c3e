"""Every module's documentation is true: what it says of its options is what the argument specification says."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring

from tests.unit.fakes.loading import load

ROOT = Path(__file__).resolve().parents[3]
LIBRARY = ROOT / "library"
MODULES = sorted(path.stem for path in LIBRARY.glob("*.py") if not path.stem.startswith("_"))
COMPARED = ("type", "elements", "required", "choices", "default", "aliases")


def described(options: dict[str, Any], nested: str) -> dict[str, Any]:
    """Options reduced to what documentation and specification share; ``nested`` names where suboptions are."""
    return {
        name: {
            **{key: option[key] for key in COMPARED if option.get(key) not in (None, False, [])},
            "type": option.get("type", "str"),
            "default": option.get("default"),
            "options": described(option.get(nested) or {}, nested),
        }
        for name, option in options.items()
    }


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return load(f"library/{request.param}.py")


def name_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


@pytest.fixture
def documented(module: ModuleType) -> dict[str, Any]:
    """The documentation of the module with what its fragments add, put together as ansible-doc does."""
    fragment_loader.add_directory(str(ROOT / "doc_fragments"))
    found: dict[str, Any] = get_docstring(str(LIBRARY / f"{name_of(module)}.py"), fragment_loader, is_module=True)[0]
    return found


def test_there_are_modules() -> None:
    assert "health_probe" in MODULES


def test_options_are_those_of_the_specification(module: ModuleType, documented: dict[str, Any]) -> None:
    assert documented["module"] == name_of(module)
    assert described(documented["options"], "suboptions") == described(module.ARGUMENT_SPEC, "options")


def test_everything_is_described(documented: dict[str, Any]) -> None:
    assert documented["short_description"]
    assert not documented["short_description"].endswith(".")
    assert {"check_mode", "diff_mode", "platform"} <= set(documented["attributes"])

    def check(options: dict[str, Any]) -> None:
        for name, option in options.items():
            assert option.get("description"), name
            check(option.get("suboptions") or {})

    check(documented["options"])
    for attribute in documented["attributes"].values():
        assert attribute["description"]
        assert attribute["support"] in ("full", "partial", "none", "N/A")


def test_examples_are_tasks_that_the_specification_accepts(module: ModuleType) -> None:
    examples = yaml.safe_load(module.EXAMPLES)
    assert examples
    for task in examples:
        assert task["name"][0].isupper()
        arguments = {
            key: value
            for key, value in task[name_of(module)].items()
            if not (isinstance(value, str) and "{{" in value)  # filled in by the play
        }
        templated = set(task[name_of(module)]) - set(arguments)
        spec = {
            key: {**value, "required": value.get("required", False) and key not in templated}
            for key, value in module.ARGUMENT_SPEC.items()
        }
        result = ArgumentSpecValidator(spec).validate(arguments)
        assert result.error_messages == []


def test_returned_values_are_described_with_samples_of_their_type(module: ModuleType) -> None:
    kinds = {"dict": dict, "list": list, "str": str, "bool": bool, "int": int, "float": (int, float)}
    returned = yaml.safe_load(module.RETURN)
    assert returned
    for name, value in returned.items():
        assert value["description"], name
        assert value["returned"], name
        if "sample" in value:
            assert isinstance(value["sample"], kinds[value["type"]]), name
