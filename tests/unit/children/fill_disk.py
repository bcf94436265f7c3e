"""Fill the disk under a history, record into it until nothing can be kept, give the room back: all is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from orquestrador_ops.history.access import open_history
from tests.unit.controller.history.test_spool import MONDAY, kept_in, record, seen

place = Path(sys.argv[1])
kept = kept_in(place)
record(kept, {"web": seen(MONDAY)})
with (place / "filler").open("wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(4096))
    except OSError:
        pass
assert os.statvfs(place).f_bavail == 0
problems = []
for number in range(1, 400):
    try:
        record(kept, {f"h{host}": seen(MONDAY + 60 * number) for host in range(20)})
    except OSError as error:
        problems.append(str(error))
        if len(problems) == 20:
            break
print(problems[-1])
(place / "filler").unlink()
with open_history(kept.state_dir) as store:
    found = [len(store.samples(f"h{host}")) for host in range(20)]
assert found == [number] * 20, (number, found)
print("all", number)
