"""Write more samples than the limit of a file's size allows."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from orquestrador_ops.core.errors import HistoryError
from orquestrador_ops.history.access import open_history
from orquestrador_ops.sla.data import store as stores
from tests.unit.controller.sla.filled import MONDAY, made

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    with open_history(Path(sys.argv[1])) as store:
        stores.write_series(store, "web", made(MONDAY + 864000, 500_000), "x")
except HistoryError as error:
    print(error)
    sys.exit(3)
