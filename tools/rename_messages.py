"""Carry translations over to message ids that were reworded: ``python tools/rename_messages.py COMMIT``.

Ids of the commit and of the work tree are matched by their place in each file. The new one gets the old one's
translation, to be read by eye; the old one goes into the catalog of former messages, because a history may hold it.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.extract import extract

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "module_utils")]

from orquestrador_ops.core import catalogs  # noqa: E402 - found by the line above
from orquestrador_ops.core.i18n import FORMER, po_path  # noqa: E402

FOLDERS = ("module_utils", "orquestrador_ops", "action_plugins", "callback_plugins", "filter_plugins", "library")
ALIKE = 0.35  # of two ids in one place, below which one does not replace the other


def main(base: str) -> int:
    """Update the catalogs; the number of old ids that nothing replaced is printed."""
    former = {locale: catalogs.load(locale, FORMER) for locale in catalogs.TRANSLATED}
    current = {locale: catalogs.load(locale) for locale in catalogs.TRANSLATED}
    used = catalogs.extracted()
    renamed = {old: new for old, new in pairs(base) if old not in used}
    for locale, catalog in current.items():
        for message in list(catalog):
            if not message.id or message.id in used:
                continue
            former[locale].add(message.id, message.string)
            new = renamed.get(str(message.id))
            current_message = new and catalog.get(new)
            if new and not (current_message and current_message.string):
                catalog.add(new, message.string)
                print(f"- {message.id}\n+ {new}\n= {message.string}\n")
        catalogs.save(catalog, po_path(locale))
        catalogs.save(former[locale], po_path(locale, FORMER))
    return catalogs.main(["update"])


def pairs(base: str) -> Iterator[tuple[str, str]]:
    """Old and new message ids, of each file that changed since ``base``."""
    changed = git("diff", "--name-status", "--diff-filter=MR", "-M", base, "--", *FOLDERS).splitlines()
    for line in changed:
        _, *names = line.split("\t")
        before, after = names[0], ROOT / names[-1]
        if after.suffix == ".py" and after.exists():
            yield from matched(ids(git("show", f"{base}:{before}")), ids(after.read_text(encoding="utf-8")))


def matched(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    """Ids that stand where another one stood."""
    for kind, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "replace":
            continue
        left = after[c:d]
        for index, old in enumerate(before[a:b]):
            if b - a == d - c:
                yield old, after[c + index]
            elif best := difflib.get_close_matches(old, left, 1, ALIKE):
                left.remove(best[0])
                yield old, best[0]


def ids(source: str) -> list[str]:
    """Message ids of a file, in their order."""
    with contextlib.redirect_stderr(io.StringIO()):
        messages = list(extract("python", io.BytesIO(source.encode()), catalogs.KEYWORDS))
    return [text for _, message, _, _ in messages for text in ((message,) if isinstance(message, str) else message)]


def git(*arguments: str) -> str:
    """What git prints."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
