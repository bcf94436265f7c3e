"""A module as those of the library are, without Ansible: what it prints last is why it ended."""

from __future__ import annotations

import sys
import time

from orquestrador.lease import keeper as lease_keeper
from orquestrador.lease import lease_file as lease
from orquestrador.system.pipeline import end_on_signals

path, run_id, ttl_s, user = sys.argv[1:5]
end_on_signals()
try:
    with lease_keeper.kept({"path": path, "run_id": run_id, "ttl_s": float(ttl_s), "user": user}):
        try:
            print("begun", flush=True)
            time.sleep(60)
        finally:
            open(path + ".unwound", "w").close()
except lease.LeaseError as error:
    print(error.message["text"], flush=True)
    sys.exit(3)
