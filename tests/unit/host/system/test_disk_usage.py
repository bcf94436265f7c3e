"""What fills a file system: measured without leaving it, and without counting twice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from orquestrador.system.disk_usage import deleted_open, survey

MIB = 1024 * 1024


def write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))


def test_places_are_counted_for_themselves_and_links_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "app/logs/out.log", 3 * MIB)
    write(tmp_path / "app/data", 2 * MIB)
    write(tmp_path / "elsewhere/huge", 4 * MIB)
    (tmp_path / "app/link").symlink_to(tmp_path / "elsewhere")
    os.link(tmp_path / "app/data", tmp_path / "app/same")
    places = {"logs": str(tmp_path / "app/logs"), "app": str(tmp_path / "app"), "gone": str(tmp_path / "no")}
    found = survey(places, tmp_path.stat().st_dev, 5, proc=str(tmp_path))
    sizes = {one["name"]: one["size_bytes"] // MIB for one in found["places"]}
    assert sizes == {"logs": 3, "app": 2}
    assert found["files"][0]["path"].endswith("out.log")
    assert found["whole"]


def test_another_file_system_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a", MIB)
    assert survey({"a": str(tmp_path)}, -1, 5, proc=str(tmp_path))["places"] == []


def test_a_survey_out_of_time_says_so(tmp_path: Path) -> None:
    for number in range(600):
        (tmp_path / str(number)).write_bytes(b"x")
    assert not survey({"a": str(tmp_path)}, tmp_path.stat().st_dev, -1)["whole"]


def test_a_deleted_file_is_found_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "deleted"
    holder = subprocess.Popen(
        ["sh", "-c", f"exec 3<>{path}; head -c {2 * MIB} /dev/urandom >&3; rm {path}; echo ready; exec sleep 30"],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        found = deleted_open(tmp_path.stat().st_dev)
        assert [(one["path"], one["pid"]) for one in found if one["pid"] == holder.pid] == [(str(path), holder.pid)]
    finally:
        holder.kill()
        holder.wait()
