"""Read a word from the catalogs that were installed, where nothing can be compiled, and print where they lie."""

from __future__ import annotations

import sys

from orquestrador_ops.core import compiled, i18n

compiled.compile_po = None  # type: ignore[assignment]
print(compiled.translations(i18n.po_path("pt_BR"), None).gettext(sys.argv[1]), i18n.LOCALE_DIR)
