"""Recall what is remembered of a host, and print which libraries that needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from orquestrador_ops.core import i18n  # noqa: F401 - what a report is made with must need none either
from orquestrador_ops.history import access
from orquestrador_ops.procedures import outcome  # noqa: F401
from orquestrador_ops.reports import checklist, view  # noqa: F401

print(json.dumps(access.recall(Path(sys.argv[1]), None, "h", "daily")))
print(sorted({"sqlalchemy", "alembic", "babel", "jinja2", "rich"} & set(sys.modules)))
