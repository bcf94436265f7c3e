"""Prometheus and node_exporter as processes of a test: on loopback, on ports of their own, ended by their ids."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0  # for a machine that is busy with something else


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def get(url: str, data: bytes | None = None) -> bytes:
    """What a server on the loopback answers, whatever proxies the environment names. Raises ``OSError``."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, data=data, timeout=PATIENCE_S) as answer:
        return bytes(answer.read())


@contextlib.contextmanager
def process(command: Sequence[str | Path], ready: str, log: Path) -> Iterator[None]:
    """Run a program while ``ready``, an address, answers; it has ended afterwards."""
    with log.open("wb") as stream:
        child = subprocess.Popen(list(map(str, command)), stdout=stream, stderr=stream, cwd=log.parent)
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            if child.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"{command[0]} does not answer:\n{log.read_text()[-3000:]}")
            with contextlib.suppress(OSError):
                get(ready)
                break
            time.sleep(0.05)
        yield
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def api(self, path: str, **asked: object) -> Any:
        """The ``data`` of an answer; a refusal fails the test with its words."""
        data = urllib.parse.urlencode({name: str(value) for name, value in asked.items()}).encode() if asked else None
        try:
            answer = json.loads(get(f"{self.url}/api/v1/{path}", data))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{asked}: {error.read().decode()}") from error
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of an instant query."""
        asked = {"query": expression} if at is None else {"query": expression, "time": f"{at:.3f}"}
        found = self.api("query", **asked)
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]

    def one(self, expression: str, at: float | None = None, default: float | None = None) -> float:
        """The only value; ``default`` where there is none."""
        found = self.query(expression, at)
        if not found and default is not None:
            return default
        assert len(found) == 1, (expression, found)
        return found[0][1]

    def range(self, expression: str, start: float, end: float, step_s: float) -> list[tuple[float, float]]:
        """Instants and values of the only series, asked for in as many pieces as Prometheus wants."""
        found: list[tuple[float, float]] = []
        while start <= end:
            last = min(end, start + 10_000 * step_s)
            result = self.api("query_range", query=expression, start=start, end=last, step=step_s)["result"]
            assert len(result) <= 1, result
            found += [(float(at), float(value)) for one in result for at, value in one["values"]]
            start = last + step_s
        return found


@contextlib.contextmanager
def prometheus(programs: Path, home: Path, config: str) -> Iterator[Prometheus]:
    """Prometheus over the blocks of ``home/data``, if there are any."""
    (home / "prometheus.yml").write_text(config)
    port = free_port()
    command = [
        programs / "prometheus",
        f"--config.file={home}/prometheus.yml",
        f"--storage.tsdb.path={home}/data",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        "--query.lookback-delta=5m",  # what we take over as the gap that a sample may cover
        "--log.level=warn",
    ]
    with process(command, f"http://127.0.0.1:{port}/-/ready", home / "prometheus.log"):
        yield Prometheus(f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def node_exporter(programs: Path, home: Path, textfiles: Path) -> Iterator[str]:
    """node_exporter with its textfile collector alone; gives the address of its metrics."""
    port = free_port()
    command = [
        programs / "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={textfiles}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    url = f"http://127.0.0.1:{port}/metrics"
    with process(command, url, home / "node_exporter.log"):
        yield url


def load(programs: Path, home: Path, series: dict[str, Sequence[tuple[float, float]]]) -> None:
    """Write series (name with labels → instants and values, sorted) into blocks of ``home/data``.

    promtool reads its input once for every two hours of it, so it is given a day at a time.
    """
    days: dict[int, list[str]] = {}
    for name, samples in series.items():
        started: set[int] = set()
        for at, value in samples:
            day = int(at // 86400)
            lines = days.setdefault(day, [])
            if day not in started:
                started.add(day)
                lines.append(f"# TYPE {name.partition('{')[0]} gauge")
            lines.append(f"{name} {value!r} {at:.3f}")

    def write(day: int) -> None:
        name = f"samples-{day}.om"
        (home / name).write_text("\n".join([*days[day], "# EOF", ""]))
        command = [programs / "promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", name, "data"]
        told = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr

    (home / "data").mkdir()
    with ThreadPoolExecutor(4) as several:  # each waits for the disk most of the time
        list(several.map(write, days))
