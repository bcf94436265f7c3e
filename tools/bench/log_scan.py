"""1 GB of access log read for the error rate, against grep counting the lines of failed requests in the same file.

What is compared: ``LC_ALL=C grep -c '" 5[0-9][0-9] '``, which counts the lines with a status of 5xx, and the whole of
what the module ``log_rates`` does on a first call: it finds the request in every line, its hour and its status, counts
error events in an error log beside, and makes rows of hours of it. Both read a file that is in memory, in turns; the
counts have to be equal, and those that were written.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import time
from pathlib import Path

from orquestrador.logs import rates as log_rate
from tools.bench.common import CannotMeasureError, say, table

MB = 1_000_000
SIZE = 1000 * MB
MARKER = '" 5[0-9][0-9] '
PER_SECOND = 60
FAILED = 0.001  # of the requests; the bound of the error rate
POOL = 5000  # different requests
BEGIN = 1_795_305_600  # 2026-11-22 00:00 UTC
PATHS = (
    "/api/health",
    "/",
    "/api/trpc/models.list",
    "/api/trpc/chat.send",
    "/assets/index-4f9d1c2a.js",
    "/api/trpc/tasks.getById?input=%7B%22json%22%3A%7B%22id%22%3A123%7D%7D",
)
AGENTS = (
    "curl/8.5.0",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5",
)


def bench_log_scan(work: Path, runs: int) -> dict[str, float]:
    """Median of the paired ratios of our speed to grep's, and both speeds in MB/s."""
    folder = work / "log-scan"
    folder.mkdir()
    path = folder / "access.log"
    try:
        lines, failed, end = write(path, folder / "error.log")
        size = path.stat().st_size
        say(f"  {size / MB:.0f} MB, {lines} requests, {failed} of them failed")
        ours, greps = [], []
        for number in range(runs + 1):
            seconds, theirs = _ours(folder, end, lines, failed), _grep(path, failed)
            if number:  # the first round warms up
                ours.append(size / MB / seconds)
                greps.append(size / MB / theirs)
    finally:
        path.unlink(missing_ok=True)
    figures = {
        "log_scan_vs_grep": statistics.median(one / other for one, other in zip(ours, greps, strict=True)),
        "log_scan_mb_s": statistics.median(ours),
        "log_scan_grep_mb_s": statistics.median(greps),
    }
    say()
    table([(f"grep -c '{MARKER}'", "figure"), *((name, f"{value:.2f}") for name, value in figures.items())])
    return figures


def write(path: Path, errors: Path, size: int = SIZE) -> tuple[int, int, float]:
    """Write both logs; requests, failed ones, and the end of the last second in epoch seconds."""
    chance = random.Random(1)  # noqa: S311 - the same file each time
    heads = [f"10.0.{chance.randrange(256)}.{chance.randrange(256)} - - [" for _ in range(POOL)]
    good = [_tail(chance, chance.choice((200, 200, 200, 304, 404))) for _ in range(POOL)]
    bad = [_tail(chance, chance.choice((500, 502, 503))) for _ in range(POOL)]
    lines = failed = written = 0
    at = BEGIN
    with path.open("w", encoding="ascii") as file, errors.open("w", encoding="ascii") as other:
        while written < size:
            stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(at))
            second = []
            for _ in range(PER_SECOND):
                broken = chance.random() < FAILED
                failed += broken
                second.append(f"{chance.choice(heads)}{stamp}{chance.choice(bad if broken else good)}")
                if broken:
                    when = time.strftime("%Y-%m-%d %H:%M:%S +00:00", time.gmtime(at))
                    other.write(f"{when}: [Server] Request failed: Error: gone\n    at run (/srv/app/a.js:1:2)\n")
            text = "".join(second)
            file.write(text)
            written, lines, at = written + len(text), lines + PER_SECOND, at + 1
    for log in (path, errors):
        os.utime(log, (at, at))
    return lines, failed, float(at)


def _tail(chance: random.Random, status: int) -> str:
    method = chance.choice(("GET", "POST"))
    return (
        f'] "{method} {chance.choice(PATHS)} HTTP/1.1" {status} {chance.randrange(100, 60000)} "-"'
        f' "{chance.choice(AGENTS)}"\n'
    )


def _ours(folder: Path, end: float, lines: int, failed: int) -> float:
    options = log_rate.Options(
        "combined", [str(folder / "access*.log")], [str(folder / "error*.log")], str(folder / "none"), BEGIN, end
    )
    begun = time.perf_counter()
    found = log_rate.count(options, end)
    seconds = time.perf_counter() - begun
    totals = found["totals"]
    if [totals[name] for name in ("requests", "failed", "error_events")] != [lines, failed, failed]:
        raise CannotMeasureError(f"{lines} requests and {failed} failures were written, counted were {totals}")
    return seconds


def _grep(path: Path, failed: int) -> float:
    begun = time.perf_counter()
    argv, environment = ["grep", "-c", "--", MARKER, str(path)], {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=True)
    seconds = time.perf_counter() - begun
    if int(done.stdout) != failed:
        raise CannotMeasureError(f"{failed} failures were written, grep found {done.stdout.strip()}")
    return seconds
