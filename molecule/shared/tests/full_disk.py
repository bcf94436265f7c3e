"""A small disk that is full: what is expired, what is new and what nobody knows, as the routines would have made it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from machine import USER, Machine

DISK = "/mnt/full"
# Made as the routines would have made them, a year ago and today, and what nobody may delete.
_FILL = f"""
import io, json, os, subprocess, tarfile, time
D = "{DISK}"
for name in ("archive", "db", "code", "logs", "state"):
    os.makedirs(f"{{D}}/{{name}}", mode=0o700, exist_ok=True)
def write(path, size):
    with open(path, "wb") as file:
        file.write(os.urandom(size))
def archive(day, created, size):
    manifest = json.dumps({{"format": 1, "kind": "logs", "created": created, "files": []}}).encode()
    with tarfile.open(f"{{D}}/archive/logs-{{day}}.tar.gz", "w:gz") as tar:
        for name, data in (("manifest.json", manifest), ("out.log", os.urandom(size))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
def backup(when, size):
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(when)) + "-0a1b2c"
    data = name + ".sql.zst.age"
    write(f"{{D}}/db/{{data}}", size)
    told = {{"format": 1, "kind": "database", "id": name, "file": data, "bytes_file": size, "verified": {{"at": when}}}}
    with open(f"{{D}}/db/{{name}}.json", "w") as file:
        json.dump(told, file)
now, year = time.time(), 365 * 86400
if EXPIRED:
    archive("20200101", now - year, 500_000)
    backup(now - year, 4_000_000)
archive("20201231", now, 100_000)
backup(now - 3600, 500_000)
write(f"{{D}}/logs/out.log", 2_000_000)
write(f"{{D}}/nobody-knows", 1_000_000)
subprocess.run(["dd", "if=/dev/zero", f"of={{D}}/filler", "bs=4k"], capture_output=True)
"""
VARIABLES = {
    "health_disk_paths": [DISK],
    "app_logs_dir": f"{DISK}/logs",
    "logs_archive_dir": f"{DISK}/archive",
    "logs_archive_keep_minimum": 1,
    "backup_database_dir": f"{DISK}/db",
    "backup_code_dir": f"{DISK}/code",
    "backup_keep_minimum": 1,
    "app_lease_file": f"{DISK}/state/lease.json",
}
# What reads the logs, and the critical files, stays where it is.
OVER: dict[str, Any] = {**VARIABLES, "logs_error_globs": ["/home/flavio/webapp/logs/error*.log"]}


@pytest.fixture
def disk(machine: Machine) -> Iterator[str]:
    """A small file system, the application user's."""
    machine.out(f"mkdir -p {DISK} && mount -t tmpfs -o size=16m,mode=700,uid=$(id -u {USER}) full {DISK}")
    yield DISK
    machine.out(f"systemctl stop holder 2>/dev/null || true; umount -l {DISK}; rmdir {DISK}")


def fill(machine: Machine, *, expired: bool) -> None:
    machine.out("python3 -", stdin=f"EXPIRED = {expired}\n{_FILL}", user=USER)
    assert machine.out(f"df --output=avail {DISK} | tail -1") == "0"
