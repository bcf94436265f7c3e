"""Requests and errors per hour, whatever happens to the logs between two calls."""

from __future__ import annotations

import gzip
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orquestrador.logs import archive as log_archive
from orquestrador.logs import rate_scan as log_rate_scan
from orquestrador.logs import rates as log_rate
from orquestrador.logs import selection
from orquestrador.logs.rate_patterns import PatternError

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC).timestamp()
HOUR = 3600
CATASTROPHE = r"(?P<status>(?:\d+\s*)+)x"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "webapp" / "logs"
    folder.mkdir(parents=True)
    return folder


def access(back_s: float, status: int = 200) -> str:
    stamp = datetime.fromtimestamp(NOW - back_s, UTC).strftime("%d/%b/%Y:%H:%M:%S")
    return f'10.0.0.1 - - [{stamp} +0000] "GET / HTTP/1.1" {status} 12 "-" "curl/8"\n'


def error(back_s: float, text: str = "Error: a") -> str:
    stamp = datetime.fromtimestamp(NOW - back_s, UTC).strftime("%Y-%m-%d %H:%M:%S +00:00: ")
    return f"{stamp}{text}\n    at run (/srv/app/a.js:1:2)\n    at main (/srv/app/b.js:1:2)\n"


def put(path: Path, *lines: str, back_s: float = 0, mode: str = "w") -> None:
    with path.open(mode) as file:
        file.write("".join(lines))
    os.utime(path, (NOW - back_s,) * 2)


class Caller:
    """Calls as the role does: each with what the one before remembered."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.memory: dict[str, Any] | None = None
        self.last: dict[str, Any] = {}

    def __call__(self, at: float = NOW, since: float = NOW - 48 * HOUR, **options: Any) -> dict[int, tuple[int, int]]:
        """``{hours back: (requests, errors)}`` of hours in which there was something."""
        given = {
            "pattern": "combined",
            "access_globs": [str(self.logs / "out*.log*"), str(self.logs / ".out*.log.*")],
            "error_globs": [str(self.logs / "error*.log"), str(self.logs / ".error*.log.*")],
            "archive_dir": str(self.logs / "archive"),
            "memory": self.memory,
            "since": since,
            "until": at,
            **options,
        }
        self.last = log_rate.count(log_rate.Options(**given), at)
        self.memory = self.last["memory"]
        return {
            round((NOW // HOUR * HOUR - row["start_at"]) / HOUR): (row["requests"], row["errors"])
            for row in self.last["rates"]
            if row["requests"] or row["errors"]
        }


@pytest.fixture
def call(logs: Path) -> Caller:
    return Caller(logs)


def test_errors_are_the_more_numerous_of_failed_requests_and_error_events(logs: Path, call: Caller) -> None:
    put(logs / "out.log", access(2 * HOUR, 500), access(2 * HOUR, 500), access(HOUR, 500), *[access(0)] * 3)
    put(logs / "error.log", error(2 * HOUR), error(HOUR), error(HOUR), error(0))
    assert call() == {2: (2, 2), 1: (1, 2), 0: (3, 1)}
    totals = {"requests": 6, "failed": 3, "error_events": 4, "errors": 5, "lines": 6, "unmatched": 0, "undated": 0}
    assert totals.items() <= call.last["totals"].items()
    assert (call.last["complete"], call.last["source"], call.last["findings"]) == (True, "access+errors", [])
    # Every hour since the beginning was looked at, and says so.
    assert len(call.last["rates"]) == 49
    assert {row["seconds"] for row in call.last["rates"]} == {HOUR}


def test_the_next_call_reads_only_what_is_new(logs: Path, call: Caller) -> None:
    put(logs / "out.log", *[access(600)] * 500)
    put(logs / "error.log", error(600))
    assert call(NOW - 300) == {0: (500, 1)}
    put(logs / "out.log", access(100, 503), "10.0.0.1 - - [22/Nov/2026:1", mode="a")
    put(logs / "error.log", error(100), mode="a")
    assert call() == {0: (501, 2)}
    assert call.last["totals"]["read_bytes"] == len(access(100))
    put(logs / "out.log", '2:30:00 +0000] "GET / HTTP/1.1" 500 1 "-" "-"\n', mode="a")
    assert call(NOW + 60) == {0: (502, 2)}
    assert call() == {0: (502, 2)}
    assert call.last["totals"]["read_bytes"] == 0


def test_rotated_logs_are_read_to_their_end(logs: Path, call: Caller) -> None:
    put(logs / "out.log", access(900))
    call(NOW - 800)
    put(logs / "out.log", access(700), mode="a")
    (logs / "out.log").rename(logs / "out.log.1")
    put(logs / "out.log", access(600, 500))
    assert call() == {0: (3, 1)}
    assert call.last["complete"] is True


def test_archived_logs_are_counted_once(logs: Path, call: Caller) -> None:
    def archive(back_s: float) -> None:
        result = log_archive.archive(
            selection.Options(
                archive_dir=str(logs / "archive"),
                base=str(logs.parent),
                globs=[str(logs / "*.log")],
                watched=[str(logs / name) for name in ("error*.log", ".error*.log.*", "out*.log", ".out*.log.*")],
                app_name="app",
                pm2_home=str(logs.parent / "none"),
            ),
            now=NOW - back_s,
        )
        assert result["failures"] == []
        os.utime(result["archive"], (NOW - back_s,) * 2)

    put(logs / "out.log", access(40 * HOUR), access(40 * HOUR, 500), back_s=39 * HOUR)
    put(logs / "error.log", error(40 * HOUR), error(40 * HOUR), error(40 * HOUR), back_s=39 * HOUR)
    archive(39 * HOUR)
    put(logs / "out.log", access(2 * HOUR), back_s=HOUR)
    archive(HOUR)  # kept beside its archive
    assert list(logs.glob(".out.log.*.kept"))
    put(logs / "out.log", access(0))
    expected = {40: (2, 3), 2: (1, 0), 0: (1, 0)}
    assert call() == expected
    assert call() == expected
    assert not any("orquestrador-rates" in str(path) for path in call.memory["access"]["files"])  # type: ignore[index]
    call.memory = None
    assert call() == expected


def test_compressed_logs_beside_are_read_at_first(logs: Path, call: Caller) -> None:
    for number, back in enumerate((30, 60)):
        with gzip.open(logs / f"out.log.{number + 1}.gz", "wb") as file:
            file.write(access(back * HOUR).encode())
        os.utime(logs / f"out.log.{number + 1}.gz", (NOW - back * HOUR,) * 2)
    put(logs / "out.log", access(0))
    for _ in range(2):
        assert call() == {30: (1, 0), 0: (1, 0)}
        assert call.last["totals"]["unmatched"] == 0


def test_a_damaged_archive_leaves_no_hour_with_too_few(logs: Path, call: Caller) -> None:
    with gzip.open(logs / "out.log.2.gz", "wb") as file:
        file.write("".join(access(20 * HOUR + number) for number in range(5000)).encode())
    whole = (logs / "out.log.2.gz").read_bytes()
    (logs / "out.log.2.gz").write_bytes(whole[: len(whole) // 2])
    os.utime(logs / "out.log.2.gz", (NOW - 19 * HOUR,) * 2)
    put(logs / "out.log", access(3 * HOUR), access(0))
    assert call() == {3: (1, 0), 0: (1, 0)}
    assert call.last["complete"] is False
    assert "out.log.2.gz" in str(call.last["findings"])
    assert min(row["start_at"] for row in call.last["rates"]) > NOW - 19 * HOUR


def test_a_truncated_log_leaves_out_the_hours_that_lost_lines(logs: Path, call: Caller) -> None:
    put(logs / "out.log", access(3 * HOUR), *[access(2.6 * HOUR)] * 9)
    assert call(NOW - 2 * HOUR) == {3: (10, 0)}
    put(logs / "out.log", access(0))
    assert call() == {}
    put(logs / "out.log", access(-HOUR), access(-HOUR), mode="a")
    assert call(NOW + HOUR) == {-1: (2, 0)}


def test_a_log_that_was_taken_away_leaves_out_its_hours(logs: Path, call: Caller) -> None:
    put(logs / "out.log", access(5 * HOUR), *[access(2 * HOUR)] * 9)
    assert call(NOW - 2 * HOUR) == {5: (1, 0), 2: (9, 0)}
    (logs / "out.log").rename(logs.parent / "elsewhere")
    put(logs / "out.log", access(0))
    assert call() == {5: (1, 0)}
    assert call.last["complete"] is False


def test_what_could_not_be_read_in_time_is_not_given_yet(
    logs: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_rate, "ALONE", 1 << 40)
    put(logs / "out.log", access(9 * HOUR))
    call(NOW - 9 * HOUR)
    put(logs / "out.log", *(access(8 * HOUR - number) for number in range(8 * HOUR - 10)), mode="a")
    assert (logs / "out.log").stat().st_size > 2 << 20
    seen = []
    for _ in range(3):
        found = call(max_bytes=1)  # a chunk of 1 MiB at the least
        seen.append(found)
        del found[9]
        assert set(found.values()) <= {(HOUR, 0), (1800, 0), (1790, 0)}
        if call.last["complete"]:
            break
    assert len(seen[0]) < len(seen[-1]) == 9
    assert sum(requests for requests, _ in seen[-1].values()) == 8 * HOUR - 10


def test_a_first_call_that_may_not_read_all_begins_with_a_whole_hour(logs: Path, call: Caller) -> None:
    put(logs / "out.log", *(access(8 * HOUR - number) for number in range(8 * HOUR - 10)))
    found = call(max_bytes=1)
    assert 1 < len(found) < 8
    assert set(found.values()) <= {(HOUR, 0), (1790, 0)}
    assert call.last["complete"] is False
    assert len(call.last["rates"]) == len(found)


def test_one_long_log_among_short_ones_is_read_whole(logs: Path, call: Caller) -> None:
    put(logs / "out.log", *(access(8 * HOUR - number) for number in range(8 * HOUR - 10)))
    for number in range(20):
        put(logs / f"out.log.{number}", access(HOUR))
    size = (logs / "out.log").stat().st_size
    assert sum(requests for requests, _ in call(max_bytes=size + (1 << 20)).values()) == 8 * HOUR - 10 + 20
    assert call.last["complete"] is True


def test_long_logs_are_read_by_two_processes(logs: Path, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_rate, "ALONE", 1000)
    monkeypatch.setattr(log_rate_scan, "STRIPE", 100_000)
    monkeypatch.setattr(log_rate_scan, "MAX_STRIPES", 8)
    reached = []
    monkeypatch.setattr(
        log_rate, "by_two", lambda *given, by=log_rate.by_two: reached.append(by(*given)) or reached[-1]
    )
    lines = [access(8 * HOUR - number, 500 if number % 100 == 0 else 200) for number in range(8 * HOUR - 10)]
    put(logs / "out.log", *lines, lines[-1][:30])
    monkeypatch.setattr(log_rate, "apart", lambda _owner, work, _seconds: work())
    found = call()
    assert len(set(reached)) > 2
    assert reached[-1] == len("".join(lines))
    assert sum(requests for requests, _ in found.values()) == len(lines)
    assert sum(errors for _, errors in found.values()) == len(lines) // 100 + 1
    assert call.last["totals"]["read_bytes"] == len("".join(lines))
    put(logs / "out.log", lines[-1][30:], mode="a")
    assert sum(requests for requests, _ in call().values()) == len(lines) + 1


def test_without_a_log_of_requests_nothing_is_given(logs: Path, call: Caller) -> None:
    put(logs / "error.log", error(0))
    assert call() == {}
    assert (call.last["rates"], call.last["complete"]) == ([], False)
    assert [finding["code"] for finding in call.last["findings"]] == ["missing"]
    assert "logs_access_globs" in str(call.last["findings"])
    assert "orquestrador-rates" not in str(call.last["findings"])


def test_without_an_error_log_only_answers_count(logs: Path, call: Caller) -> None:
    put(logs / "out.log", access(0, 500))
    assert call(error_globs=[]) == {0: (1, 1)}
    assert (call.last["source"], call.last["complete"]) == ("access", True)


def test_a_pattern_for_another_format_is_said_and_gives_no_rate(logs: Path, call: Caller) -> None:
    put(logs / "out.log", *[access(0)] * 7)
    put(logs / "error.log", error(0))
    assert call(pattern="morgan-tiny") == {}
    assert call.last["rates"] == []
    assert [finding["code"] for finding in call.last["findings"]] == ["no_request"]
    assert call.last["totals"]["unmatched"] == 7
    # With another pattern all is counted anew.
    assert call() == {0: (7, 1)}


def test_a_memory_of_something_else_is_a_first_call(logs: Path, call: Caller) -> None:
    put(logs / "out.log", access(0))
    call()
    good = dict(call.memory or {})
    for damage in ({"v": 99}, {"hours": {"x": [1]}}, {"hours": []}, {"lost": [[1]]}, {"access": {}}, {"from": "x"}):
        call.memory = {**good, **damage}
        assert call() == {0: (1, 0)}
        assert call.last["totals"]["read_bytes"] == len(access(0))
    call.memory = good
    assert call() == {0: (1, 0)}
    assert call.last["totals"]["read_bytes"] == 0


def test_nothing_of_a_log_is_remembered(logs: Path, call: Caller) -> None:
    put(logs / "out.log", access(0).replace("GET /", "GET /secret"))
    call()
    assert "secret" not in str(call.memory)


def test_a_pattern_that_takes_for_ever_ends(logs: Path, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_rate, "GRACE_S", 0.3)
    put(logs / "out.log", "1" * 60 + "\n")
    began = time.monotonic()
    with pytest.raises(PatternError) as raised:
        call(pattern=CATASTROPHE, timeout_s=0.2)
    assert time.monotonic() - began < 5
    assert "tries too many ways" in raised.value.message["text"]


def test_local_times_are_those_of_the_host(logs: Path, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    time.tzset()
    try:
        put(logs / "out.log", "2026-11-22 08:15:00: GET / 200 1 - 1.0 ms\n")
        assert call(pattern="morgan-tiny") == {1: (1, 0)}
    finally:
        monkeypatch.undo()
        time.tzset()
