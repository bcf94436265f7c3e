"""Take a lease and print what came of it: ``take_lease HOW PATH RUN_ID TTL_S``."""

from __future__ import annotations

import os
import sys

from orquestrador.core.messages import plain
from orquestrador.lease import lease_file as lease

how, path, run_id, ttl_s = sys.argv[1:]


def take() -> str:
    wanted = lease.request(run_id=run_id, owner="ana@one", procedure="backup", ttl_s=float(ttl_s))
    try:
        return "got " + str(lease.acquire(path, wanted)["note"])
    except lease.LeaseError as error:
        return "refused " + plain(error.message)


if how == "as-nobody" and os.geteuid() == 0:  # without root's power to write everywhere
    os.setgid(65534)
    os.setuid(65534)
if how == "when-told":
    print("ready", flush=True)
    sys.stdin.readline()
print(take(), flush=True)
if how == "and-stay":
    sys.stdin.readline()
