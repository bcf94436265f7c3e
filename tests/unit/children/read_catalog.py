"""Read a word from a catalog: ``read_catalog PO STATE WORD TIMES``; print it, and whether Babel was needed for that."""

from __future__ import annotations

import sys
from pathlib import Path

from orquestrador_ops.core import compiled, i18n  # noqa: F401 - which must not need Babel either

po, state, word, times = sys.argv[1:]
said = {compiled.translations(Path(po), Path(state)).gettext(word) for _ in range(int(times))}
print(*said, "babel" in sys.modules)
