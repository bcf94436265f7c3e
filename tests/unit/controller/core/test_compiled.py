"""Compiled catalogs: which one is read, and what becomes of one that is stale, damaged or cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from orquestrador_ops.core import compiled, i18n
from tests.unit import children

ROOT = Path(__file__).resolve().parents[4]
WORD = "HEALTHY"


@pytest.fixture
def po(tmp_path: Path) -> Path:
    place = tmp_path / "package" / "pt_BR" / "LC_MESSAGES" / "orquestrador.po"
    place.parent.mkdir(parents=True)
    place.write_bytes(i18n.po_path("pt_BR").read_bytes())
    return place


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def kept(state: Path) -> list[Path]:
    return sorted(path for path in state.rglob("*") if path.is_file())


def compiling(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is compiled from now on."""
    seen: list[bytes] = []
    compile_po = compiled.compile_po
    monkeypatch.setattr(compiled, "compile_po", lambda source: seen.append(source) or compile_po(source))
    return seen


def test_the_first_use_compiles_and_keeps_it_privately(po: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = compiling(monkeypatch)
    assert compiled.translations(po, state).gettext(WORD) == "SAUDÁVEL"
    assert compiled.translations(po, state).gettext(WORD) == "SAUDÁVEL"
    assert len(seen) == 1
    (mo,) = kept(state)
    assert [oct(path.stat().st_mode & 0o777) for path in (state, mo.parent, mo)] == ["0o700", "0o700", "0o600"]
    assert kept(po.parent) == [po]


def test_what_is_compiled_beside_it_is_read_and_nothing_else_is_made(
    po: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled.write(po)
    seen = compiling(monkeypatch)
    assert compiled.translations(po, state).gettext(WORD) == "SAUDÁVEL"
    assert (seen, state.exists()) == ([], False)


@pytest.mark.parametrize("beside", [True, False])
def test_an_edited_catalog_is_never_read_stale(po: Path, state: Path, beside: bool) -> None:
    if beside:
        compiled.write(po)
    compiled.translations(po, state)
    was = po.stat()
    po.write_bytes(po.read_bytes().replace("SAUDÁVEL".encode(), b"SADIAMENT"))
    os.utime(po, ns=(was.st_atime_ns, was.st_mtime_ns))  # neither its time nor its size tells
    assert po.stat().st_size == was.st_size
    assert compiled.translations(po, state).gettext(WORD) == "SADIAMENT"
    compiled.write(po)
    assert len(list(po.parent.glob("*.mo"))) == 1


@pytest.mark.parametrize("at", [0, 0.3, 0.9, 1])
@pytest.mark.parametrize("beside", [True, False])
def test_a_damaged_one_is_made_anew(po: Path, state: Path, at: float, beside: bool) -> None:
    if beside:
        compiled.write(po)
    compiled.translations(po, state)
    (mo,) = po.parent.glob("*.mo") if beside else kept(state)
    whole = mo.read_bytes()
    spot = min(int(len(whole) * at), len(whole) - 1)
    for damaged in (whole[:spot], whole[:spot] + bytes([whole[spot] ^ 1]) + whole[spot + 1 :], bytes(len(whole))):
        mo.write_bytes(damaged)
        assert compiled.translations(po, state).gettext(WORD) == "SAUDÁVEL"
        if not beside:
            assert mo.read_bytes() == whole


@pytest.mark.parametrize("obstacle", ["file", "directory", "read-only", "no device"])
def test_where_nothing_can_be_written_it_is_in_memory_only(
    po: Path, state: Path, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if obstacle == "file":
        state.write_text("no directory")
    elif obstacle == "directory":
        compiled.translations(po, state)
        (mo,) = kept(state)
        mo.unlink()
        (mo / "in the way").mkdir(parents=True)
    elif obstacle == "read-only":
        state = Path("/proc/none")  # nobody can make a directory there, root neither
    else:
        state = Path("/dev/full/state")
    assert compiled.translations(po, state).gettext(WORD) == "SAUDÁVEL"
    if state.is_dir():
        assert kept(state) == []


def test_two_checkouts_can_share_a_state_directory_and_nothing_piles_up(po: Path, state: Path) -> None:
    other = po.parents[2].with_name("other") / "pt_BR" / "LC_MESSAGES" / po.name
    other.parent.mkdir(parents=True)
    other.write_bytes(po.read_bytes().replace("SAUDÁVEL".encode(), "SÃO".encode()))
    compiled.translations(po, state)
    (first,) = kept(state)
    killed = first.with_name(f".{first.name}.abc")
    killed.write_bytes(b"half")
    compiled.translations(other, state)
    assert len(kept(state)) == 3
    long_ago = time.time() - compiled.KEPT_S - 60
    for path in (first, killed):
        os.utime(path, (long_ago, long_ago))
    other.write_bytes(other.read_bytes() + b"\n")
    compiled.translations(other, state)
    assert first not in kept(state)
    assert killed not in kept(state)
    assert len(kept(state)) == 2


def test_many_processes_at_once_all_read_a_whole_one(po: Path, state: Path) -> None:
    argv = children.command("read_catalog", po, state, WORD, 3)
    running = [
        subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        for _ in range(6)
    ]
    told = [(*child.communicate(timeout=60), child.returncode) for child in running]
    assert {(said.split()[0], errors, code) for said, errors, code in told} == {("SAUDÁVEL", "", 0)}
    assert len(kept(state)) == 1


def test_babel_is_imported_only_to_compile(po: Path, state: Path) -> None:
    argv = children.command("read_catalog", po, state, WORD, 1)

    def imported() -> str:
        return subprocess.check_output(argv, cwd=ROOT, encoding="utf-8", timeout=60).split()[1]

    assert [imported(), imported()] == ["True", "False"]


def test_a_checkout_without_any_speaks_from_the_state_directory_of_its_settings(tmp_path: Path) -> None:
    """In a checkout of its own, as AWX has it: nothing is compiled, and only OPS_STATE_DIR can be written."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "orquestrador_ops", project / "orquestrador_ops", ignore=shutil.ignore_patterns("*.mo"))
    code = "from orquestrador_ops.core import settings; print(settings.of({}, str).translator().t('HEALTHY'))"
    environment = {**os.environ, "OPS_STATE_DIR": str(tmp_path / "elsewhere"), "PYTHONDONTWRITEBYTECODE": "1"}
    before = sorted(project.rglob("*"))
    for _ in range(2):
        said = subprocess.check_output(
            [sys.executable, "-c", code], cwd=project, env=environment, encoding="utf-8", timeout=60
        )
        assert said == "SAUDÁVEL\n"
    assert sorted(project.rglob("*")) == before
    assert [path.suffix for path in kept(tmp_path / "elsewhere")] == [".mo"]


def test_a_wheel_carries_the_catalogs_that_it_reads(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    for name in ("orquestrador_ops", "module_utils"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    stale = project / i18n.po_path("pt_BR").relative_to(ROOT).with_name("orquestrador-0123456789abcdef.mo")
    stale.write_bytes(b"of another time")
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*argv, "-w", str(tmp_path), str(project)], check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    assert len(list((tmp_path / "site").rglob("*.mo"))) == 2  # of today's messages and of former ones
    said = subprocess.check_output(
        [sys.executable, children.ROOT / "tests/unit/children/read_shipped.py", WORD],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        encoding="utf-8",
        timeout=60,
    )
    assert said.split() == ["SAUDÁVEL", str(tmp_path / "site" / "orquestrador_ops" / "core" / "locale")]
