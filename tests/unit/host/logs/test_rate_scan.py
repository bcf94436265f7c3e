"""Requests per hour: the quick way, line by line, in two halves and in pieces give what a plain loop gives."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.logs import rate_patterns as patterns
from orquestrador.logs import rate_scan as scan

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC).timestamp()
HOUR = 3600


def counted(data: bytes, name: str = "combined", **options: Any) -> scan.Hours:
    sink = scan.Hours()
    scan.RateParser(sink, patterns.compiled(name), **{"now": NOW, "undated": NOW, **options}).feed(data)
    return sink


def clf(at: float, status: int, path: str = "/", agent: str = "curl/8", zone: str = "+0000") -> str:
    stamp = datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S")
    return f'10.0.0.1 - - [{stamp} {zone}] "GET {path} HTTP/1.1" {status} 12 "-" "{agent}"\n'


def pm2(at: float, text: str) -> str:
    return datetime.fromtimestamp(at, UTC).strftime(f"%Y-%m-%d %H:%M:%S +00:00: {text}")


def pairs(sink: scan.Hours) -> dict[int, tuple[int, int]]:
    """Hours before now: requests and failed ones."""
    return {
        round((NOW // HOUR * HOUR - hour) / HOUR): (found[0], found[1]) for hour, found in sorted(sink.hours.items())
    }


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"22/Nov/2026:12:00:00 +0000", "2026-11-22T12:00:00+00:00"),
        (b"22/Nov/2026:12:00:00 -0300", "2026-11-22T15:00:00+00:00"),
        (b"22/Nov/2026:12:00:00 +0530", "2026-11-22T06:30:00+00:00"),
        (b"29/Feb/2028:23:59:60 +0000", "2028-02-29T23:59:59+00:00"),
        (b"2026-11-22T12:00:00.250Z", "2026-11-22T12:00:00.250000+00:00"),
        (b"2026-11-22 12:00:00 -03:00", "2026-11-22T15:00:00+00:00"),
        (b"1795348800", "2026-11-22T12:00:00+00:00"),
        (b"1795348800.5", "2026-11-22T12:00:00.500000+00:00"),
        (b"1795348800500", "2026-11-22T12:00:00.500000+00:00"),
        (b"29/Feb/2026:12:00:00 +0000", None),
        (b"22/Foo/2026:12:00:00 +0000", None),
        (b"yesterday", None),
        (b"", None),
        (b"\xff\xfe", None),
    ],
)
def test_times_as_logs_write_them(text: bytes, expected: str | None) -> None:
    found = patterns.when(text)
    assert found == (None if expected is None else datetime.fromisoformat(expected).timestamp())


# --- patterns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(?P<status>\\d+", "is no regular expression"),
        ("(?P<status>[z-a])", "is no regular expression"),
        ("HTTP (\\d+)", "has no group (?P<status>...)"),
        ("a" * 3000, "has {count} characters"),
    ],
)
def test_a_pattern_that_is_none_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(patterns.PatternError) as raised:
        patterns.compiled(text)
    assert said in raised.value.message["text"]
    assert "\n" not in str(raised.value)


COMBINED = clf(NOW, 503).rstrip()
TINY = "GET /api?x=1 503 12 - 3.456 ms"
PINO = f'{{"level":50,"time":{int(NOW * 1000)},"req":{{"url":"/"}},"res":{{"statusCode":503}},"responseTime":7}}'


@pytest.mark.parametrize(
    ("name", "line", "requests", "failed"),
    [
        ("combined", COMBINED, 1, 1),
        ("combined", pm2(NOW, COMBINED), 1, 1),
        ("combined", '::1 - bob [22/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 - "-" "-"', 1, 0),
        # What a client sends does not make its answer a failure.
        ("combined", clf(NOW, 200, agent='x" 503 "').rstrip(), 1, 0),
        ("combined", clf(NOW, 404, path='/\\" 503 \\"').rstrip(), 1, 0),
        ("combined", clf(NOW, 200, path="/ 503 ").rstrip(), 1, 0),
        ("combined", "[Server] Listening on http://0.0.0.0:3001", 0, 0),
        ("combined", '10.0.0.1 - - [22/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" - - "-" "-"', 0, 0),
        ("morgan-tiny", TINY, 1, 1),
        ("morgan-tiny", pm2(NOW, TINY), 1, 1),
        ("morgan-tiny", pm2(NOW, "GET / 304 - - 0.456 ms"), 1, 0),
        ("morgan-tiny", "GET / - - - - ms", 0, 0),
        ("morgan-tiny", "I waited 503 12 - 3.456 ms", 0, 0),
        ("json", PINO, 1, 1),
        ("json", pm2(NOW, PINO), 1, 1),
        ("json", '{"time":"2026-11-22T12:00:00Z","status":"200","request":"GET /"}', 1, 0),
        ("json", '{"level":30,"msg":"\\"statusCode\\":503"}', 0, 0),
        ("json", "{", 0, 0),
    ],
)
def test_presets_one_line_or_a_hundred(name: str, line: str, requests: int, failed: int) -> None:
    for lines in (1, 100):
        sink = counted((line + "\n").encode() * lines, name)
        got = [sum(found[index] for found in sink.hours.values()) for index in (0, 1)]
        assert (got, sink.unmatched) == ([requests * lines, failed * lines], (1 - requests) * lines)
        assert sink.undated == (requests * lines if name == "morgan-tiny" and "2026" not in line else 0)


def test_an_expression_of_ones_own_with_time_and_latency() -> None:
    text = r"at=(?P<at>\S+) status=(?P<status>\S+) took=(?P<latency_ms>\S+)"
    lines = [
        "at=2026-11-22T10:00:00Z status=200 took=199.9",
        "at=2026-11-22T10:00:00Z status=500 took=200",
        "at=2026-11-22T11:00:00Z status=204 took=?",
        "at=2026-11-22T11:00:00Z status=abc took=1",
        "at=2026-11-22T11:00:00Z status=999 took=1",
    ]
    sink = counted("\n".join(lines).encode() + b"\n", text)
    assert dict(zip((2, 1), sink.hours.values(), strict=True)) == {
        2: [2, 1, 2, 1],
        1: [1, 0, 0, 0],
    }
    assert sink.unmatched == 2


# --- whose hour it is ------------------------------------------------------------------------------------------------


def test_a_line_without_a_time_belongs_to_the_one_before() -> None:
    data = (pm2(NOW - 2 * HOUR, TINY) + f"\n{TINY}\n" + pm2(NOW, TINY) + f"\n{TINY}\n{TINY}\n").encode()
    assert pairs(counted(data, "morgan-tiny")) == {2: (2, 2), 0: (3, 3)}


def test_a_line_of_the_application_tells_the_time_too() -> None:
    data = (pm2(NOW - HOUR, "[Server] Draining") + f"\n{TINY}\n").encode()
    assert pairs(counted(data, "morgan-tiny")) == {1: (1, 1)}


def test_clocks_that_jump_back_and_ahead() -> None:
    ats = [NOW - HOUR, NOW, NOW - 3 * HOUR, NOW + 5 * HOUR, NOW - 3 * HOUR]
    sink = counted("".join(clf(at, 200) for at in ats).encode(), undated=NOW)
    assert pairs(sink) == {3: (2, 0), 1: (1, 0), 0: (2, 0)}
    assert sink.undated == 1


def test_requests_of_an_earlier_life_of_the_file_are_not_counted_again() -> None:
    data = "".join(clf(NOW - back, 200) for back in (900, 600, 300)).encode()
    sink = scan.Hours()
    sink.ignore_before = NOW - 600
    scan.RateParser(sink, patterns.compiled("combined"), now=NOW, undated=NOW).feed(data)
    assert pairs(sink) == {0: (2, 0)}


@pytest.mark.parametrize(
    "junk",
    [b"\xff\x80" * 99, b"\x00" * 5000, b"x" * 300_000, b'["' * 50_000, b"[" * 100_000, b"\x1b[31m red", b'"' * 9999],
)
def test_garbage_between_requests(junk: bytes) -> None:
    line = clf(NOW, 500).encode()
    sink = counted(line * 3 + junk + b"\n" + line * 2)
    assert pairs(sink) == {0: (5, 5)}
    assert (sink.lines, sink.unmatched) == (6, 1)


# --- the same, whatever way ------------------------------------------------------------------------------------------

LINES = st.one_of(
    st.builds(
        clf,
        st.integers(0, 6 * HOUR).map(lambda back: NOW - back),
        st.sampled_from([200, 404, 500, 503]),
        st.sampled_from(["/", '/\\" 503 \\"', "/[a]", "/" + "x" * 300]),
        st.sampled_from(["curl/8", 'a" 500 "b', "[22/Nov/2026:01:00:00 +0000] "]),
    ),
    st.text(alphabet='ab"[] 5\\0:', max_size=40).map(lambda text: text + "\n"),
)
REFERENCE = re.compile(r'^[^\[]*\[([^\]]{26})\] "(?:[^"\\]|\\.)*" (\d{3}) ')


def reference(text: str) -> Counter[tuple[float, bool]]:
    """By another way: one plain expression for each line."""
    found: Counter[tuple[float, bool]] = Counter()
    for line in text.splitlines():
        match = REFERENCE.match(line)
        if match:
            at = datetime.strptime(match[1], "%d/%b/%Y:%H:%M:%S %z").timestamp()
            found[(at // HOUR, match[2].startswith("5"))] += 1
    return found


def as_reference(sink: scan.Hours) -> Counter[tuple[float, bool]]:
    return +Counter(
        {
            key: count
            for hour, (requests, failed, _, _) in sink.hours.items()
            for key, count in (((hour // HOUR, True), failed), ((hour // HOUR, False), requests - failed))
        }
    )


@given(st.lists(LINES, max_size=30), st.integers(0, 30), st.sampled_from([150, 400, scan.BLOCK]))
def test_every_way_gives_the_same(lines: list[str], cut: int, block: int) -> None:
    text = "".join(lines)
    with mock.patch.multiple(scan, BLOCK=block, RETRY_BLOCKS=0):
        every_way(lines, cut, text)


def every_way(lines: list[str], cut: int, text: str) -> None:
    whole = counted(text.encode()) if text else scan.Hours()
    assert as_reference(whole) == reference(text)
    sink, parts = scan.Hours(), ["".join(lines[:cut]), "".join(lines[cut:])]
    state = None
    for part in filter(None, parts):
        parser = scan.RateParser(sink, patterns.compiled("combined"), state, now=NOW, undated=NOW)
        parser.feed(part.encode())
        state = parser.state()
    assert sink.hours == whole.hours
    assert (sink.lines, sink.unmatched) == (whole.lines, whole.unmatched)


@pytest.mark.parametrize("zone", ["+0000", "+0530"])
def test_blocks_of_one_hour_are_what_their_lines_are(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "BLOCK", 1000)
    monkeypatch.setattr(scan, "RETRY_BLOCKS", 0)
    quick: list[bytes] = []
    of_hour = patterns.Blocks.of_hour
    monkeypatch.setattr(patterns.Blocks, "of_hour", lambda self, time: quick.append(time) or of_hour(self, time))
    lines = [clf(NOW - 9 * HOUR + 10 * number, 500 if number % 9 == 0 else 200, zone=zone) for number in range(2000)]
    lines[700] = "of another format\n"
    lines[1000:1000] = [clf(NOW - 9 * HOUR, 500, zone=zone)] * 3  # a clock that was set back for a moment
    sink = counted("".join(lines).encode())
    assert as_reference(sink) == reference("".join(lines))
    assert (sink.lines, sink.unmatched) == (2003, 1)
    # Half-hour zones have hours that begin in the middle of ours.
    assert len(quick) > 4 if zone == "+0000" else not quick


@pytest.mark.parametrize("name", ["combined", "morgan-tiny"])
@pytest.mark.parametrize(("block", "stripe"), [(300, 400), (5000, 9000), (5000, 10**6)])
def test_two_processes_count_what_one_does(
    name: str, block: int, stripe: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "BLOCK", block)
    monkeypatch.setattr(scan, "STRIPE", stripe)
    lines = []
    for number in range(400):
        at = NOW - 5 * HOUR + number * 40
        if name == "combined":
            lines.append(clf(at, 500 if number % 7 == 0 else 200))
        else:  # most lines without a time, so that stripes begin with some
            lines.append((pm2(at, TINY) if number % 90 == 0 else TINY) + "\n")
    data = "".join(lines).encode()
    path = tmp_path / "access.log"
    path.write_bytes(data + b"an unfinished li")
    whole, sink = counted(data, name), scan.Hours()
    parser = scan.RateParser(sink, patterns.compiled(name), now=NOW, undated=NOW)
    end, come = path.stat().st_size, 0
    with path.open("rb") as file:
        assert scan.by_two(file.fileno(), 0, end, parser, time.monotonic() - 1) == 0
        assert (sink.hours, sink.lines) == ({}, 0)
        for _ in range(100):
            before, come = come, scan.by_two(file.fileno(), come, end, parser, time.monotonic() + 60)
            if come == before:
                break
    assert come == len(data)
    assert (sink.hours, sink.lines, sink.unmatched) == (whole.hours, whole.lines, whole.unmatched)
    assert parser.seen == NOW - 5 * HOUR + (399 if name == "combined" else 360) * 40
    assert sink.first_seen == NOW - 5 * HOUR


def test_a_line_too_long_for_stripes_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "BLOCK", 1000)
    monkeypatch.setattr(scan, "STRIPE", 2000)
    path = tmp_path / "access.log"
    head = clf(NOW, 200).encode() * 40
    path.write_bytes(head + b"x" * 20_000 + b"\n" + head)
    sink = scan.Hours()
    parser = scan.RateParser(sink, patterns.compiled("combined"), now=NOW, undated=NOW)
    with path.open("rb") as file:
        come = scan.by_two(file.fileno(), 0, path.stat().st_size, parser, time.monotonic() + 60)
    assert 0 < come <= len(head)
    assert sink.lines == sum(counts[0] for counts in sink.hours.values()) == head[:come].count(b"\n")


def test_a_helper_that_is_killed_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "STRIPE", 2000)
    monkeypatch.setattr(scan, "_helper", lambda *_: os._exit(9))
    path = tmp_path / "access.log"
    data = clf(NOW, 200).encode() * 400
    path.write_bytes(data)
    sink = scan.Hours()
    parser = scan.RateParser(sink, patterns.compiled("combined"), now=NOW, undated=NOW)
    with path.open("rb") as file:
        assert scan.by_two(file.fileno(), 0, len(data), parser, time.monotonic() + 60) == len(data)
    assert sink.lines == 400
