"""What the project says it needs, and what it uses."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from ansible.utils.version import SemanticVersion

ROOT = Path(__file__).resolve().parents[3]
OWN_ROLES = {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}


def required() -> dict[str, str]:
    document = yaml.safe_load((ROOT / "requirements.yml").read_text(encoding="utf-8"))
    return {entry["name"]: entry["version"] for entry in document["collections"]}


def used() -> set[str]:
    names: set[str] = set()
    for folder in ("roles", "playbooks"):
        for path in (ROOT / folder).rglob("*.yml"):
            names.update(re.findall(r"^\s*-?\s*([a-z_]+\.[a-z_]+)\.[a-z_]+:", path.read_text(encoding="utf-8"), re.M))
    return names - {"ansible.builtin"}


def test_every_collection_that_is_used_is_required_and_no_other() -> None:
    assert set(required()) == used()


def test_the_installed_collections_satisfy_the_requirements() -> None:
    """Where Galaxy is out of reach the collections come from the ``ansible`` package: it has to fit the same ranges."""
    import ansible_collections

    for name, ranges in required().items():
        folders = [Path(root) / name.replace(".", "/") for root in ansible_collections.__path__]
        manifests = [folder / "MANIFEST.json" for folder in folders if (folder / "MANIFEST.json").exists()]
        assert manifests, f"{name} is not installed"
        version = SemanticVersion(
            yaml.safe_load(manifests[0].read_text(encoding="utf-8"))["collection_info"]["version"]
        )
        for condition in ranges.split(","):
            operator, bound = re.match(r"([<>=]+)(.+)", condition.strip()).groups()  # type: ignore[union-attr]
            limit = SemanticVersion(bound)
            assert {">=": version >= limit, "<": version < limit}[operator], f"{name} {version} is not {condition}"


def test_the_production_address_stands_in_the_example_inventory_and_the_documentation_only() -> None:
    address = ".".join(("192", "168", "192", "164"))
    allowed = {"inventory/production", "docs"}
    found = [
        str(path.relative_to(ROOT))
        for pattern in ("**/*.yml", "**/*.py", "**/*.sh", "**/*.j2", "**/*.ts", "**/*.cjs")
        for path in ROOT.glob(pattern)
        if not {".venv", ".cache", "var", "node_modules"} & set(path.relative_to(ROOT).parts)
        and address in path.read_text(encoding="utf-8", errors="replace")
        and not any(str(path.relative_to(ROOT)).startswith(prefix) for prefix in allowed)
    ]
    assert found == []
