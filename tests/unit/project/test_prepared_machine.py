"""The image of a bootstrapped machine: never of another state of the checkout, never unsound, with its own secrets."""

from __future__ import annotations

import configparser
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.unit.fakes.loading import load

ROOT = Path(__file__).resolve().parents[3]
OWN = ("shell", "podman", "settings", "container", "image")  # what the lab's modules import of each other


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "molecule" / "shared" / "lab"))
    for name in OWN:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield load("molecule/shared/lab/prepared.py")
    for name in OWN:
        sys.modules.pop(name, None)


@pytest.fixture
def lab(prepared: ModuleType, tmp_path: Path) -> Any:
    import settings  # the lab's own

    made = settings.from_environment({"LAB_NAME": "orquestrador-test-x", "LAB_PREPARED": "1"})
    return dataclasses.replace(made, state=tmp_path / "state", cache=tmp_path / "cache")


class Images:
    """Podman as far as images go: what it was asked, and an image for each commit."""

    def __init__(self, exit_code: int = 0) -> None:
        self.present: dict[str, tuple[float, str]] = {}  # created, owner
        self.asked: list[tuple[str, ...]] = []
        self.inspect = lambda _: {"State": {"ExitCode": exit_code}}
        self.execute = lambda _name, argv: self.asked.append(("exec", *argv))

    def run(self, *args: str, **_: Any) -> SimpleNamespace:
        self.asked.append(args)
        said, code = "", 0
        if args[0] == "commit":
            self.present[args[-1]] = (time.time(), str(ROOT))
        elif args[0] == "rmi":
            del self.present[args[-1]]
        elif args[:2] == ("image", "inspect"):
            code = int(args[-1] not in self.present)
            said = "" if code else str(int(self.present[args[-1]][0]))
        elif args[:3] == ("images", "--format", "json"):
            said = json.dumps(
                [
                    {"Names": [name], "Labels": {"orquestrador.project": owner}}
                    for name, (_, owner) in self.present.items()
                ]
            )
        elif args[0] == "images":
            said = "\n".join(name.rpartition(":")[2] for name in self.present)
        return SimpleNamespace(returncode=code, stdout=said)


def bring_up(lab: Any) -> Any:
    """As much of a lab as a bootstrap leaves on this side: its secrets."""

    def up() -> None:
        for path in (lab.vault_password, lab.vault_file):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{path.name} {time.monotonic_ns()}")

    return up


@pytest.fixture
def bootstraps(prepared: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    done: list[Any] = []
    monkeypatch.setattr(prepared, "_bootstrap", done.append)
    return done


def test_it_is_made_once_and_its_secrets_go_to_every_lab(
    prepared: ModuleType, lab: Any, tmp_path: Path, bootstraps: list[Any]
) -> None:
    images = Images()
    name = prepared.ensure(lab, images, "below:1", bring_up(lab))
    assert name.startswith("localhost/orquestrador-lab-prepared-mysql:")
    secrets = {path: path.read_text() for path in (lab.vault_password, lab.vault_file)}
    other = dataclasses.replace(lab, state=tmp_path / "other")
    assert prepared.ensure(other, images, "below:1", bring_up(other)) == name
    assert len(bootstraps) == 1
    assert [other.vault_password.read_text(), other.vault_file.read_text()] == list(secrets.values())
    assert {path.stat().st_mode & 0o777 for path in (other.vault_password, other.vault_file)} == {0o600}


def test_the_machine_gives_up_who_it_was_and_has_ended_before_the_image_is_taken(
    prepared: ModuleType, lab: Any, bootstraps: list[Any]
) -> None:
    images = Images()
    prepared.ensure(lab, images, "below:1", bring_up(lab))
    words = [asked[0] for asked in images.asked if asked[0] in ("exec", "stop", "commit", "rm")]
    assert words == ["rm", "exec", "stop", "commit", "rm"]
    (forgotten,) = (asked[-1] for asked in images.asked if asked[0] == "exec")
    assert all(what in forgotten for what in ("/etc/ssh/ssh_host_", "authorized_keys", "/etc/machine-id"))


def test_one_that_had_to_be_killed_is_no_image(prepared: ModuleType, lab: Any, bootstraps: list[Any]) -> None:
    images = Images(exit_code=137)
    with pytest.raises(prepared.LabError, match="did not shut down"):
        prepared.ensure(lab, images, "below:1", bring_up(lab))
    assert images.present == {}


@pytest.mark.parametrize("lost", ["image", "secrets", "youth"])
def test_it_is_made_again_when_something_of_it_is_gone(
    prepared: ModuleType, lab: Any, bootstraps: list[Any], lost: str
) -> None:
    images = Images()
    name = prepared.ensure(lab, images, "below:1", bring_up(lab))
    if lost == "image":
        images.present.clear()
    elif lost == "youth":
        images.present[name] = (time.time() - prepared.MAX_AGE_S - 1, str(ROOT))
    else:
        next((lab.cache / "prepared").glob("*/vault.yml")).unlink()
    assert prepared.ensure(lab, images, "below:1", bring_up(lab)) == name
    assert len(bootstraps) == 2


def test_of_others_those_stay_that_another_checkout_may_need(
    prepared: ModuleType, lab: Any, tmp_path: Path, bootstraps: list[Any]
) -> None:
    images = Images()
    first = prepared.ensure(lab, images, "below:1", bring_up(lab))
    kind = first.partition(":")[0]
    theirs, gone, mariadb = f"{kind}:theirs", f"{kind}:gone", f"{kind.replace('mysql', 'mariadb')}:own"
    images.present |= {theirs: (0, str(tmp_path)), gone: (0, str(tmp_path / "gone")), mariadb: (0, str(ROOT))}
    second = prepared.ensure(lab, images, "below:2", bring_up(lab))
    assert set(images.present) == {second, theirs, mariadb}
    assert [path.name for path in (lab.cache / "prepared").iterdir()] == [second.rpartition(":")[2]]


def test_whatever_decides_it_makes_it_another(prepared: ModuleType, lab: Any, tmp_path: Path) -> None:
    for name in prepared.DECIDING:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).mkdir() if (ROOT / name).is_dir() else (tmp_path / name).touch()
    found = [prepared.digest(lab, "below:1", tmp_path)]
    assert prepared.digest(lab, "below:1", tmp_path) == found[0]
    for name in prepared.DECIDING:
        path = tmp_path / name / "deep" / "file" if (ROOT / name).is_dir() else tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("changed")
        found.append(prepared.digest(lab, "below:1", tmp_path))
        path.chmod(0o755)
        found.append(prepared.digest(lab, "below:1", tmp_path))
    found += [prepared.digest(lab, "below:2", tmp_path)]
    found += [prepared.digest(dataclasses.replace(lab, debug=True), "below:1", tmp_path)]
    found += [prepared.digest(lab, "below:1", ROOT)]
    assert len(set(found)) == len(found)


def test_all_that_ansible_takes_from_the_checkout_decides(prepared: ModuleType) -> None:
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "ansible.cfg", encoding="utf-8")
    named = {value for value in configuration["defaults"].values() if (ROOT / value).is_dir()}
    assert named - {"inventory/lab"} <= set(prepared.DECIDING)
    assert len(named) > 6
    assert all((ROOT / name).exists() for name in prepared.DECIDING)


def test_directories_of_the_home_are_made_anew_before_the_machine_starts(
    prepared: ModuleType, lab: Any, tmp_path: Path
) -> None:
    """On an overlay those of the image could not be renamed."""
    deep = tmp_path / "home" / "flavio" / "webapp" / "dist"
    deep.mkdir(parents=True)
    (deep / "index.js").write_text("x")
    (deep / "index.js").chmod(0o640)
    (deep.parent / "link").symlink_to("dist")
    before = {path: path.lstat() for path in (tmp_path / "home").rglob("*")}
    images = Images()
    images.run = lambda *args, **_: images.asked.append(args) or SimpleNamespace(stdout=f"{tmp_path}\n")  # type: ignore
    prepared.container.renew_home(lab, images)
    after = {path: path.lstat() for path in (tmp_path / "home").rglob("*")}
    assert {path: (found.st_mode, found.st_mtime_ns) for path, found in after.items()} == {
        path: (found.st_mode, found.st_mtime_ns) for path, found in before.items()
    }
    assert not {found.st_ino for found in after.values()} & {found.st_ino for found in before.values()}
    assert images.asked == [("mount", lab.name), ("umount", lab.name)]
