"""What a commit is tested with: the lock files, what may stand in them, and that nothing else is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
PYTHONS = ["3.11", "3.12", "3.13"]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lock_name(python: str) -> str:
    return f"py{python.replace('.', '')}.txt"


def lock(python: str) -> str:
    return (ROOT / "requirements" / lock_name(python)).read_text(encoding="utf-8")


def pinned(python: str) -> dict[str, tuple[str, int]]:
    """Version and number of hashes of each package."""
    logical = re.sub(r"\\\n", " ", lock(python))
    lines = [line.split() for line in logical.splitlines() if line and not line.lstrip().startswith("#")]
    return {
        canonicalize_name(words[0].partition("==")[0].partition("[")[0]): (
            words[0].partition("==")[2],
            sum(word.startswith("--hash=sha256:") for word in words),
        )
        for words in lines
    }


def requirements() -> list[Requirement]:
    project = DECLARED["project"]
    return [
        Requirement(line)
        for line in (
            *project["dependencies"],
            *(line for extra in project["optional-dependencies"].values() for line in extra),
            *DECLARED["build-system"]["requires"],
        )
    ]


def test_there_is_a_lock_file_for_each_supported_python_and_no_other() -> None:
    assert sorted(path.name for path in (ROOT / "requirements").iterdir()) == [lock_name(name) for name in PYTHONS]
    assert DECLARED["project"]["requires-python"] == f">={PYTHONS[0]}"
    assert f"for version in {' '.join(PYTHONS)}; do" in (ROOT / "tools" / "lock.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize("python", PYTHONS)
def test_a_lock_file_says_what_and_never_from_where(python: str) -> None:
    """Every line is of a known form: none of them has room for an address, a host or a path."""
    forms = [
        rf"# Python {re.escape(python)}; written by `make upgrade` from the ranges of pyproject\.toml\.",
        r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[0-9][0-9a-z.]*( ; [a-z_ 0-9.'<>=!()]+)? \\",
        r"    --hash=sha256:[0-9a-f]{64}( \\)?",
        r"    #( via)?( +[a-z0-9-]+( \(pyproject\.toml\))?)?",
    ]
    strange = [line for line in lock(python).splitlines() if not any(re.fullmatch(form, line) for form in forms)]
    assert strange == []


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_is_pinned_within_its_range_with_hashes(python: str) -> None:
    pins = pinned(python)
    assert min(hashes for _, hashes in pins.values()) > 0
    for requirement in requirements():
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)][0]), requirement


def test_the_environment_of_these_tests_is_that_of_the_lock_file_or_of_the_newest() -> None:
    """So that `make unit` can't be green with what happens to lie in the environment."""
    import importlib.metadata

    locks = ROOT / ("requirements" if Path(sys.prefix).parent == ROOT else ".cache/newest/requirements")
    if not Path(sys.prefix).is_relative_to(ROOT):
        pytest.skip("an environment of somebody else's")
    text = (locks / lock_name(f"3.{sys.version_info.minor}")).read_text(encoding="utf-8")
    wanted = dict(re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==(\S+)", text, re.M))
    found = {canonicalize_name(item.metadata["Name"]): item.version for item in importlib.metadata.distributions()}
    assert {name: found.get(name) for name in wanted} == wanted
    assert set(found) - set(wanted) <= {"pip", "orquestrador-ops"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    (project / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "ensure-venv.sh", project / "tools")
    (project / "tools" / "ensure-lab-tools.sh").write_text("#!/bin/sh\n")
    (project / "tools" / "ensure-lab-tools.sh").chmod(0o755)
    shutil.copytree(ROOT / "requirements", project / "requirements")
    (tmp_path / "bin").mkdir()
    for name in ("python3", *(f"python{version}" for version in PYTHONS)):
        shutil.copy(ROOT / "tests" / "unit" / "children" / "python.sh", tmp_path / "bin" / name)
        (tmp_path / "bin" / name).chmod(0o755)
    return project


def ensure(checkout: Path, **environment: str) -> tuple[int, list[str], list[str]]:
    """Exit status, lines of standard error, and what pip was asked to do."""
    log = checkout.parent / "log"
    log.write_text("")
    done = subprocess.run(
        [checkout / "tools" / "ensure-venv.sh", ".venv"],
        env={"PATH": f"{checkout.parent / 'bin'}:/usr/bin:/bin", "LOG": str(log), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr.splitlines(), log.read_text().splitlines()


@pytest.mark.parametrize("version", PYTHONS)
def test_the_environment_is_installed_from_its_lock_file_with_hashes_and_from_nothing_else(
    checkout: Path, version: str
) -> None:
    status, said, asked = ensure(checkout, VERSION=version)
    assert (status, said) == (0, [])
    packages, leftovers, project = asked
    assert packages.endswith(f"--only-binary :all: --require-hashes -r requirements/{lock_name(version)}")
    assert leftovers.endswith("uninstall --quiet --yes left-over")
    assert project.endswith("--no-index --no-deps --no-build-isolation -e .")


@pytest.mark.parametrize(
    "environment",
    [{"VERSION": "3.14"}, {"VERSION": "3.12", "INSTALLS": "1"}, {"VERSION": "3.12", "FITS": "1"}],
    ids=["a Python without a lock file", "a lock file that can't be installed", "one that pyproject.toml outgrew"],
)
def test_what_does_not_fit_is_one_line_that_names_the_pythons_and_the_way_out(
    checkout: Path, environment: dict[str, str]
) -> None:
    status, said, _ = ensure(checkout, **environment)
    assert status == 1
    (line,) = said
    assert all(version in line for version in PYTHONS)
    assert "make upgrade" in line


def test_an_environment_is_brought_up_to_date_when_a_lock_file_changes(tmp_path: Path) -> None:
    """Asked of make itself, in a checkout where everything is installed."""
    for name in ("Makefile", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "tools").mkdir()
    (tmp_path / "molecule" / "shared").mkdir(parents=True)
    shutil.copy(ROOT / "molecule" / "shared" / "lab.mk", tmp_path / "molecule" / "shared")
    script = tmp_path / "tools" / "ensure-venv.sh"
    script.write_text('#!/bin/sh\nmkdir -p "$1"\necho "installing from $2"\n')
    script.chmod(0o755)

    # What the make that runs the tests was told, `make newest` say, is not for this one.
    told = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "VENV", "LOCKS")
    environment = {name: value for name, value in os.environ.items() if name not in told}

    def venv() -> str:
        argv = ["make", "-s", "venv"]
        return subprocess.check_output(argv, cwd=tmp_path, env=environment, text=True, timeout=30)

    assert (venv(), venv()) == ("installing from requirements\n", "")
    newer = (tmp_path / ".venv" / ".installed").stat().st_mtime_ns + 10**9
    for python in PYTHONS:
        path = tmp_path / "requirements" / lock_name(python)
        os.utime(path, ns=(newer, newer))
    assert venv() == "installing from requirements\n"
