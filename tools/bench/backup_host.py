"""The part of the benchmark ``backup`` that runs on the host: one measured piece of work, JSON in and JSON out.

It calls what the modules call, in the host's own Python; the start of Ansible and the transfer of a module are not
part of what is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from orquestrador.backup.database import back_up
from orquestrador.backup.session import Limits
from orquestrador.backup.store import list_backups
from orquestrador.backup.verify import verify
from orquestrador.mysql.clients import PRODUCTS, find_dumper, find_program
from orquestrador.mysql.throwaway_server import throwaway_server

CHILD_PROGRAMS = {"zstd", "age"}
LIMITS = Limits(reserve_bytes=0, timeout_s=1800, stall_s=600)
SAMPLE_S = 0.2  # each sample takes processor time from the backup


class Memory(threading.Thread):
    """Samples the peak resident memory of this process, the compressor and the encryptor, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(SAMPLE_S):
            self.peak = max(self.peak, _resident(os.getpid()) + sum(map(_resident, _children(os.getpid()))))


def _children(pid: int) -> list[int]:
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = path.read_text(encoding="ascii", errors="replace")
            program, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
            if int(fields[1]) == pid and program in CHILD_PROGRAMS:
                pids.append(int(path.parent.name))
    return pids


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _shell(command: str) -> float:
    started = time.perf_counter()
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, timeout=1800, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Do one piece of work and return how long it took."""
    home, schema, defaults = str(task["place"]), str(task["schema"]), str(task["defaults_file"])
    store = str(Path(home, "store"))
    dumper = find_dumper(PRODUCTS["mysql"])
    dump = " ".join([dumper.path, f"--defaults-file={defaults}", *dumper.options, "--", schema])
    what = task["what"]
    if what == "dump":
        return {"seconds": _shell(f"{dump} > /dev/null")}
    if what == "file":
        return {"seconds": _shell(f"{dump} > {home}/dump.sql"), "bytes": Path(home, "dump.sql").stat().st_size}
    if what == "gzip":
        return {"seconds": _shell(f"{dump} | gzip > {home}/dump.gz"), "bytes": Path(home, "dump.gz").stat().st_size}
    if what == "backup":
        memory = Memory()
        memory.start()
        started = time.perf_counter()
        made = back_up(store, defaults_file=defaults, name=schema, recipient=task["recipient"], limits=LIMITS)["backup"]
        seconds = time.perf_counter() - started
        memory.over.set()
        for manifest in list_backups(store)[:-1]:
            for name in (manifest["file"], f"{manifest['id']}.json"):
                Path(store, name).unlink()
        return {
            "seconds": seconds,
            "peak_mb": memory.peak / 1e6,
            "bytes": made["bytes_file"],
            "dump": made["bytes_dump"],
        }
    manifest = list_backups(store)[-1]
    if what == "proof":
        started = time.perf_counter()
        result = verify(store, backup=manifest["id"], identity=task["identity"], limits=LIMITS)
        proof = result["backup"]["verified"]
        return {"seconds": time.perf_counter() - started, "restore_s": proof["restore_s"]}
    client = find_program(PRODUCTS["mysql"].clients)
    bounds = {"size_bytes": 0, "reserve_bytes": 0, "deadline": time.monotonic() + LIMITS.timeout_s}
    with throwaway_server(store, manifest["server"], schema, **bounds) as server:
        return {"seconds": _shell(f"{client} {' '.join(server.access)} {server.schema} < {home}/dump.sql")}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(work(json.load(sys.stdin))))
