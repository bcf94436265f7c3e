"""The catalogs against the sources: a message id nobody translated fails here, not in front of an operator."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import pytest

from orquestrador_ops.core import catalogs, i18n

SOURCES = ("module_utils", "orquestrador_ops", "action_plugins", "callback_plugins", "filter_plugins", "library")


def test_catalogs_are_complete_and_read_as_they_are_written() -> None:
    assert catalogs.problems() == []


def test_extraction_misses_no_call() -> None:
    """Found by a second path, because the extractor reads tokens and does not look into f-strings."""
    found = set(catalogs.extracted())
    missed = []
    for directory in SOURCES:
        for path in (catalogs.ROOT / directory).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not node.args:
                    continue
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                text = node.args[0]
                if name in {"msg", "t"} and isinstance(text, ast.JoinedStr):
                    missed.append(f"{path.relative_to(catalogs.ROOT)}:{node.lineno}: an f-string has no translation")
                is_text = isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value
                if name in {"msg", "t"} and is_text and text.value not in found:
                    missed.append(f"{path.relative_to(catalogs.ROOT)}:{node.lineno} {text.value!r}")
    assert missed == []


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalogs in a place where they can be spoiled."""
    for locale in catalogs.TRANSLATED:
        place = tmp_path / locale / "LC_MESSAGES"
        place.mkdir(parents=True)
        for domain in (i18n.DOMAIN, i18n.FORMER):
            source = catalogs.po_path(locale, domain)
            (place / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(i18n, "LOCALE_DIR", tmp_path)
    return catalogs.po_path("pt_BR")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('msgstr "SAUDÁVEL"', 'msgstr ""', "no translation of 'HEALTHY'"),
        ('msgstr "Relatório: {path}"', 'msgstr "Relatório: {caminho}"', "other placeholders"),
        ('msgid "HEALTHY"', '#, fuzzy\nmsgid "HEALTHY"', "fuzzy"),
    ],
)
def test_check_complains(copied: Path, old: str, new: str, said: str) -> None:
    text = copied.read_text(encoding="utf-8")
    assert old in text
    copied.write_text(text.replace(old, new), encoding="utf-8")
    assert any(said in line for line in catalogs.problems())


def test_update_and_compile_change_nothing_when_nothing_changed(copied: Path) -> None:
    def run() -> tuple[int, bytes, dict[str, bytes]]:
        lacking = catalogs.update()
        catalogs.compile_all()
        return lacking, copied.read_bytes(), {path.name: path.read_bytes() for path in copied.parent.glob("*.mo")}

    assert run() == run()


def test_check_compares_messages_not_bytes(copied: Path) -> None:
    """Another Babel writes another name of itself into what it compiles: nobody's translation has changed."""
    catalogs.compile_all()
    (mo,) = copied.parent.glob("orquestrador-*.mo")
    content = mo.read_bytes()[:-32]
    assert b"Generated-By: Babel" in content
    mo.write_bytes(sealed(content.replace(b"Generated-By: Babel", b"Generated-By: BABEL")))
    assert catalogs.problems() == []
    mo.write_bytes(sealed(content.replace("SAUDÁVEL".encode(), b"SAUDAVEL ")))
    assert [line for line in catalogs.problems() if "run compile" in line]


def sealed(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def test_update_finds_what_the_sources_say_and_drops_what_they_do_not(copied: Path) -> None:
    text = copied.read_text(encoding="utf-8")
    copied.write_text(text.replace('msgid "HEALTHY"', 'msgid "GONE"'), encoding="utf-8")
    catalogs.update()
    after = copied.read_text(encoding="utf-8")
    assert 'msgid "HEALTHY"\nmsgstr ""' in after
    assert "GONE" not in after
