"""Catalog tooling: ``python -m orquestrador_ops.core.catalogs update|compile|check``.

``update`` takes the message ids out of the sources into the catalogs, ``compile`` makes the ``.mo`` files beside them
(:mod:`orquestrador_ops.core.compiled`), ``check`` fails when a message id lacks a translation, a translation lacks a
placeholder, or what is read at run time says anything else than the ``.po``. Which sources: ``babel.cfg``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po, write_po
from babel.util import pathmatch

from . import compiled
from .i18n import DOMAIN, FORMER, po_path

ROOT = Path(__file__).resolve().parents[2]
# English is the language of the message ids and needs no catalog.
TRANSLATED = ("pt_BR",)
KEYWORDS = {"msg": None, "N_": None, "t": None, "_": None, "gettext": None, "ngettext": (1, 2)}
_TASK_NAME = re.compile(r"^\s*- name: +['\"]?(.+?)['\"]?(?: \{\{.*)?$")
_PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
# Catalogs change when their messages do, not with the clock.
_EPOCH = datetime(2025, 11, 1, tzinfo=UTC)


def extracted(root: Path = ROOT) -> dict[str, set[str]]:
    """Message ids of the sources, each with the files that use it."""
    with (root / "babel.cfg").open(encoding="utf-8") as stream:
        methods, options = parse_mapping_cfg(stream, filename="babel.cfg")  # type: ignore[no-untyped-call]
    found: dict[str, set[str]] = {}
    for path, method, option in _sources(root, methods, options):
        # Babel warns of f-strings even among a message's arguments; that no message is one, the tests tell.
        with path.open("rb") as source, contextlib.redirect_stderr(io.StringIO()):
            for _, message, _, _ in extract(method, source, KEYWORDS, options=option):
                for text in (message,) if isinstance(message, str) else message:
                    found.setdefault(text, set()).add(path.relative_to(root).as_posix())
    for text, path in _task_names(root):
        found.setdefault(text, set()).add(path.relative_to(root).as_posix())
    found.pop("", None)
    return found


def _task_names(root: Path) -> Iterator[tuple[str, Path]]:
    """Names of plays and tasks, which the operator's output shows; of a template only what stands before it."""
    for pattern in ("playbooks/*/*.yml", "roles/*/tasks/*.yml"):
        for path in sorted(root.glob(pattern)):
            for line in path.read_text(encoding="utf-8").splitlines():
                if match := _TASK_NAME.match(line):
                    yield match[1], path


def _sources(
    root: Path, methods: Iterable[tuple[str, str]], options: dict[str, dict[str, str]]
) -> Iterator[tuple[Path, str, dict[str, str]]]:
    for pattern, method in methods:
        top = root / pattern.split("/", 1)[0]
        for path in sorted(top.rglob("*")) if top.is_dir() else ():
            if path.is_file() and pathmatch(pattern, path.relative_to(root).as_posix()):
                yield path, method, options.get(pattern, {})


def load(locale: str, domain: str = DOMAIN) -> Catalog:
    """The catalog of ``locale``; an empty one when there is none yet."""
    path = po_path(locale, domain)
    if not path.exists():
        return Catalog(
            locale=locale,
            domain=domain,
            project="orquestrador-ops",
            fuzzy=False,
            creation_date=_EPOCH,
            revision_date=_EPOCH,
            charset="utf-8",
        )
    with path.open("rb") as stream:
        return read_po(stream, locale=locale, domain=domain)


def update() -> int:
    """Bring the catalogs to the message ids of the sources; return how many lack a translation."""
    template = Catalog(domain=DOMAIN, fuzzy=False, creation_date=_EPOCH, charset="utf-8")
    for text, files in extracted().items():
        template.add(text, locations=[(name, 0) for name in sorted(files)])
    empty = 0
    for locale in TRANSLATED:
        catalog = load(locale)
        catalog.update(template, no_fuzzy_matching=True, update_creation_date=False)
        catalog.obsolete.clear()
        catalog.fuzzy = False
        lacking = sorted(str(message.id) for message in catalog if message.id and not message.string)
        for text in lacking:
            print(f"{locale}: {text}")
        empty += len(lacking)
        save(catalog, po_path(locale))
    return empty


def save(catalog: Catalog, path: Path) -> None:
    """Write a catalog, sorted, without what changes with every edit."""
    buffer = io.BytesIO()
    write_po(buffer, catalog, sort_output=True, include_lineno=False, width=120)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def compile_all() -> None:
    """Write every ``.mo``."""
    for locale in TRANSLATED:
        for domain in (DOMAIN, FORMER):
            compiled.write(po_path(locale, domain))


def problems() -> list[str]:
    """What ``check`` complains about, one line each; empty when all is well."""
    said = []
    wanted = extracted()
    for locale in TRANSLATED:
        catalog = load(locale)
        for text in sorted(wanted):
            message = catalog.get(text)
            if message is None or not message.string:
                said.append(f"{locale}: no translation of {text!r} ({', '.join(sorted(wanted[text]))}): run update")
            elif message.fuzzy:
                said.append(f"{locale}: translation of {text!r} is marked fuzzy: look at it and remove the mark")
            elif set(_PLACEHOLDER.findall(text)) != set(_PLACEHOLDER.findall(str(message.string))):
                said.append(f"{locale}: translation of {text!r} has other placeholders")
        spoken = compiled.translations(po_path(locale), None)
        for message in catalog:
            translated = message.id and message.string and not message.fuzzy
            if translated and spoken.gettext(str(message.id)) != message.string:
                said.append(f"{locale}: {message.id!r} is not compiled as it is translated: run compile")
    return said


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 1 when ``check`` has something to say."""
    parser = argparse.ArgumentParser(prog="python -m orquestrador_ops.core.catalogs", description="Catalog tooling")
    parser.add_argument("action", choices=("update", "compile", "check"))
    action = parser.parse_args(arguments).action
    if action == "update":
        lacking = update()
        print(f"{lacking} message ids lack a translation")
        return 0
    if action == "compile":
        compile_all()
        return 0
    said = problems()
    for line in said:
        print(line, file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
