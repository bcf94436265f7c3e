"""Memory, processor and disks, from the kernel's text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.system import resources

MEMINFO = """MemTotal:       1000 kB
MemFree:         100 kB
MemAvailable:    250 kB
SwapTotal:       500 kB
SwapFree:        400 kB
HugePages_Total:       0
"""


def test_memory() -> None:
    assert resources.parse_meminfo(MEMINFO.splitlines()) == {
        "total_bytes": 1024000,
        "available_bytes": 256000,
        "used_percent": 75.0,
        "swap_total_bytes": 512000,
        "swap_used_bytes": 102400,
    }


@given(st.lists(st.text(max_size=40), max_size=5))
def test_arbitrary_memory_never_raises(lines: list[str]) -> None:
    json.dumps(resources.parse_meminfo(lines), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 1 1 1\n", (1.5, 10.0)),
        ("cpu  100 0 50 800 50 10 20 20 30 0\n", (2.0, 10.5)),  # guest is in user already
        ("cpu 1 2 3 4\n", (0.06, 0.1)),
        ("cpu 1 2 3\n", None),
        ("cpu a b c d e\n", None),
        ("intr 1 2 3 4 5", None),
        ("", None),
    ],
)
def test_processor_times(text: str, times: tuple[float, float] | None) -> None:
    assert resources.parse_stat(text, 100.0) == times


@given(st.text(max_size=100))
def test_arbitrary_processor_times_never_raise(text: str) -> None:
    resources.parse_stat(text, 100.0)


@pytest.mark.parametrize(
    ("before", "after", "own_s", "percent"),
    [
        ((1, 10), (2, 12), 0.0, 50.0),
        ((1, 10), (2, 12), 0.5, 33.3),
        ((1, 10), (3, 12), 0.5, 100.0),  # of a host that is full a probe takes its share
        ((1, 10), (2, 12), 9.0, 0.0),
        ((1, 10), (1, 10), 0.0, None),
        ((1, 10), (0, 9), 0.0, None),
        (None, (1, 1), 0.0, None),
    ],
)
def test_how_busy_the_host_is(before: Any, after: Any, own_s: float, percent: float | None) -> None:
    first, second = (resources.CpuTimes(*times) if times else None for times in (before, after))
    assert resources.host_percent(first, second, own_s) == percent


@pytest.mark.parametrize(
    ("before", "after", "percent"),
    [
        ({1: 1.0, 2: 1.0}, {1: 1.1, 2: 1.4}, 80.0),
        ({1: 1.0}, {2: 9.0}, None),  # restarted in between
        ({1: 1.0}, {1: 0.5}, 0.0),
        ({}, {}, None),
    ],
)
def test_the_busiest_process(before: dict[int, float], after: dict[int, float], percent: float | None) -> None:
    assert resources.app_percent(before, after, 0.5) == percent


def collect(tmp_path: Path, pids: list[int], **limits: float) -> tuple[Any, list[str]]:
    state, findings = resources.collect(
        [str(tmp_path), "/", str(tmp_path), str(tmp_path / "none")],
        lambda: pids,
        timeout_s=5,
        limits=resources.Limits(**{"interval_s": 0.05, **limits}),
    )
    json.dumps(state, allow_nan=False)
    return state, [item["code"] for item in findings]


def test_this_host(tmp_path: Path) -> None:
    state, codes = collect(tmp_path, [os.getpid(), 2**22 + 1], cpu_percent=1e9)
    assert codes == ["no_path"]
    assert [item["path"] for item in state["disk"]] == [str(tmp_path), "/"]
    assert all(0 <= item["used_percent"] <= 100 for item in state["disk"])
    assert len(state["load"]) == 3
    assert 0 < state["memory"]["used_percent"] < 100
    assert state["memory"]["app_bytes"] == state["memory"]["app_max_bytes"] > 1_000_000
    assert state["cpu"]["count"] == os.cpu_count()
    assert 0.05 <= state["cpu"]["interval_s"] < 1


def test_disk_figures_are_those_of_df(tmp_path: Path) -> None:
    argv = ["df", "-B1", "--output=size,avail,ipcent", str(tmp_path)]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=10, check=True, env={"LC_ALL": "C", **os.environ}
    )
    size, available, inodes = done.stdout.splitlines()[1].split()
    found = resources.disk(str(tmp_path))
    assert found["total_bytes"] == int(size)
    assert found["free_bytes"] == pytest.approx(int(available), rel=0.05)
    if inodes != "-":
        assert found["inodes_used_percent"] == pytest.approx(float(inodes.rstrip("%")), abs=1.5)


def test_without_processes_there_is_no_share(tmp_path: Path) -> None:
    state, _ = collect(tmp_path, [])
    assert (state["cpu"]["app_percent"], state["memory"]["app_bytes"]) == (None, None)


def test_a_process_that_is_busy_all_the_time_is_measured_longer_and_reported(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import time\nend = time.monotonic() + 5\nwhile time.monotonic() < end: pass"]
    with subprocess.Popen(argv) as busy:
        try:
            time.sleep(0.1)
            # On a machine with other work it gets a share only; the limit is low accordingly.
            state, _ = collect(tmp_path, [busy.pid], cpu_percent=5.0)
        finally:
            busy.kill()
    assert state["cpu"]["app_percent"] > 5
    assert state["cpu"]["interval_s"] >= resources.LONG_INTERVAL_S


def test_a_short_burst_raises_no_alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 0.05, 0.05])
    monkeypatch.setattr(resources, "process_cpu_s", lambda _pid, _proc: next(seconds))
    state, _ = collect(tmp_path, [1], cpu_percent=20.0)
    assert state["cpu"]["app_percent"] <= 6
    assert state["cpu"]["interval_s"] >= resources.LONG_INTERVAL_S


def test_a_proc_that_tells_nothing_leaves_nulls(tmp_path: Path) -> None:
    state, findings = resources.collect(
        ["/"], lambda: [1], timeout_s=1, limits=resources.Limits(0.01), proc=str(tmp_path)
    )
    assert [item["code"] for item in findings] == ["no_meminfo"]
    assert (state["memory"]["total_bytes"], state["cpu"]["percent"], state["load"]) == (None, None, [])


def test_kernels_without_schedstat_are_read_from_stat(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (a ) b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 1 1 1")
    assert resources.process_cpu_s(7, str(tmp_path)) == 200 / os.sysconf("SC_CLK_TCK")
    assert resources.process_cpu_s(8, str(tmp_path)) is None
