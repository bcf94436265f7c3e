"""One error is one event, whatever its lines look like; and no bytes upset the parser."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orquestrador.logs import events as log_events
from orquestrador.logs.events import EventParser

NOW = 1_762_000_000.0  # 2025-11-01T12:26:40Z
P = b"2025-11-01 09:00:00 +00:00: "
P_AT = 1_761_987_600.0
LATER = b"2025-11-01 09:10:00 +00:00: "


class Events:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.added: list[tuple[str, bytes, float]] = []
        self.refined: list[tuple[str, str]] = []

    def add(self, fingerprint: str, title: bytes, when: float) -> None:
        self.added.append((fingerprint, title, when))

    def refine(self, old: str, new: str, when: float) -> None:
        self.refined.append((old, new))

    def final(self) -> list[str]:
        """Fingerprints after refinement, sorted."""
        found = [fingerprint for fingerprint, _, _ in self.added]
        for old, new in self.refined:
            found.remove(old)
            found.append(new)
        return sorted(found)


def parse(data: bytes, **options: Any) -> Events:
    events = Events()
    parser = EventParser(events, now=NOW, undated=NOW - 5, **options)
    parser.feed(data)
    parser.state()
    return events


def titles(data: bytes, **options: Any) -> list[bytes]:
    return [title for _, title, _ in parse(data, **options).added]


TRACE = b"""Error: connect ECONNREFUSED 127.0.0.1:3306
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1555:16)
    at Pool.getConnection (/home/flavio/webapp/node_modules/mysql2/lib/pool.js:10:2)
    at async health (/home/flavio/webapp/dist/server/index.js:12:3) {
  errno: -111,
  code: 'ECONNREFUSED',
  syscall: 'connect',
  [cause]: Error: inner
      at inner (/home/flavio/webapp/dist/server/db.js:1:1)
}
"""
UNCAUGHT = b"""/home/flavio/webapp/dist/server/index.js:12
        throw new TypeError('x is not a function');
        ^

TypeError: x is not a function
    at Object.<anonymous> (/home/flavio/webapp/dist/server/index.js:12:9)

Node.js v20.19.2
"""
AGGREGATE = b"""AggregateError
    at internalConnectMultiple (node:net:1122:18) {
  code: 'ECONNREFUSED',
  [errors]: [
    Error: connect ECONNREFUSED ::1:3306
        at createConnectionError (node:net:1652:14) {
      errno: -111
    },
  ]
}
"""
MODULE = b"""node:internal/modules/cjs/loader:1080
  throw err;
  ^

Error: Cannot find module 'x'
Require stack:
- /home/flavio/webapp/dist/server/index.js
    at Module._load (node:internal/modules/cjs/loader:1080:1)
"""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (P + TRACE, [b"Error: connect ECONNREFUSED 127.0.0.1:3306"]),
        (TRACE, [b"Error: connect ECONNREFUSED 127.0.0.1:3306"]),
        (P + TRACE + P + TRACE, [b"Error: connect ECONNREFUSED 127.0.0.1:3306"] * 2),
        (P + UNCAUGHT, [b"TypeError: x is not a function"]),
        (b"".join(P + line for line in UNCAUGHT.splitlines(True)), [b"TypeError: x is not a function"]),
        (P + AGGREGATE, [b"AggregateError"]),
        (P + MODULE, [b"Error: Cannot find module 'x'"]),
        (P + b"first failed\nsecond failed\n" + P + b"third\n", [b"first failed", b"second failed", b"third"]),
        (P + b"failed {\n  code: 5\n}\n" + P + b"again\n", [b"failed {", b"again"]),
        (P + b"failed\n{ code: 5 }\n{\n  a: 1\n}\n", [b"failed"]),
        (b"[2025-11-01T09:00:00.123Z] boom\n", [b"boom"]),
        (b"2025-11-01T09:00:00Z - error: boom\n", [b"error: boom"]),
        (P + b"[2025-11-01T09:00:00.000Z] boom\n", [b"boom"]),
        (b"boom\r\n\r\nbang\r\n", [b"boom", b"bang"]),
        (b"\x1b[31mERROR\x1b[0m boom\n", [b"ERROR boom"]),
        (b"\x00\x00\x00boom\n", [b"boom"]),
        (P + b"at startup: cannot listen\n", [b"at startup: cannot listen"]),
        (P + b"a\n" + LATER + b"   indented and much later\n", [b"a", b"indented and much later"]),
        (P + b"   indented from the start\n", [b"indented from the start"]),
        (b"    at orphan (/a/b.js:1:2)\n}\n\n", []),
        (b"", []),
        (b"\n\n \n", []),
        (b"conex\xe3o recusada\n", [b"conex\xe3o recusada"]),
    ],
)
def test_one_error_is_one_event(data: bytes, expected: list[bytes]) -> None:
    assert titles(data) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"[INFO] a",
        b"[warn] a",
        b"WARN a",
        b"WARNING: a",
        b"info: a",
        b"DEBUG - a",
        b"[Server] [WARN] a",
        b"(node:123) Warning: a",
        b"(node:123) [DEP0040] DeprecationWarning: a",
        b"npm WARN deprecated a",
        b'{"level":30,"time":1761987600000,"msg":"a"}',
        b'{"level":"info","message":"a"}',
        b'{"message":"a","timestamp":"2025-11-01T09:00:00Z","type":"out"}',
    ],
)
def test_an_explicit_lower_level_is_no_error_nor_is_its_continuation(line: bytes) -> None:
    for prefix in (b"", P, P + P):
        assert titles(prefix + line + b"\n    at x (/a/b.js:1:2)\n  more\n\n}\n") == []
        assert titles(prefix + line + b"\n" + P + b"boom\n") == [b"boom"]


@pytest.mark.parametrize(
    "line",
    [
        b"[ERROR] a",
        b"[ERROR] [info] a",
        b"error: a",
        b"Information is missing",
        b"Debug mode failed",
        b"Warning lights on",
        b"(node:1) UnhandledPromiseRejectionWarning: a",
        b'{"level":50,"msg":"a"}',
        b'{"level":"error","message":"a"}',
        b'{"message":"a\\n    at x (/a/b.js:1:2)\\n","timestamp":"2025-11-01T09:00:00Z","type":"err"}',
        b'{"broken": ',
    ],
)
def test_everything_else_is_an_error(line: bytes) -> None:
    for prefix in (b"", P):
        assert len(titles(prefix + line + b"\n")) == 1


def test_pm2_json_records_are_parsed_as_the_writes_they_are() -> None:
    record = b'{"message":"a\\nb\\n    at x (/a/b.js:1:2)\\n","timestamp":"2025-11-01T09:00:00Z","type":"err"}\n'
    assert [(t, w) for _, t, w in parse(record).added] == [(b"a", P_AT), (b"b", P_AT)]


def test_the_health_monitor_counts_only_its_errors() -> None:
    log = (
        b"2025-11-01 09:00:00 [INFO] ok\n========\n2025-11-01 09:00:01 [WARNING] slow\n"
        b"2025-11-01 09:00:02 [ERROR] Porta 3001 fechada\nno level\n"
    )
    assert titles(log, levels_only=True) == [b"[ERROR] Porta 3001 fechada"]


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        (b"2025-11-01 09:00:00 +00:00: ", P_AT),
        (b"2025-11-01 06:00:00 -03:00: ", P_AT),
        (b"2025-11-01T09:00:00Z ", P_AT),
        (b"2025-11-01T09:00:00.250Z ", P_AT + 0.25),
        (b"[2025-11-01 14:30:00 +0530] ", P_AT),
        (b"2025-11-01 06:00:00 ", P_AT),  # local time: Sao Paulo in these tests
        (b"2030-01-01 00:00:00 +00:00: ", NOW - 5),  # the future: the clock was wrong
        (b"", NOW - 5),
    ],
)
def test_when_an_event_happened(stamp: bytes, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    time.tzset()
    try:
        assert parse(stamp + b"boom\n").added[0][2] == expected
    finally:
        monkeypatch.undo()
        time.tzset()


def test_local_time_knows_daylight_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        before = log_events.line_time(b"2025-10-26 01:30:00 x")
        after = log_events.line_time(b"2025-10-26 03:30:00 x")
        assert before is not None
        assert after is not None
        assert after - before == 3 * 3600
        assert log_events.line_time(b"2025-10-26 02:30:00 x") is not None
        assert log_events.line_time(b"2025-03-30 02:30:00 x") is not None
    finally:
        monkeypatch.undo()
        time.tzset()


def test_lines_without_a_time_take_the_previous_events_but_not_one_before_the_last_run() -> None:
    assert [w for _, _, w in parse(P + b"a\nb\n").added] == [P_AT, P_AT]
    assert [w for _, _, w in parse(P + b"a\nb\n", floor=P_AT + 9).added] == [P_AT, P_AT + 9]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"Error: user 15 not found", b"Error: user 99 not found", True),
        (b"Error: connect ECONNREFUSED 127.0.0.1:3306", b"Error: connect ECONNREFUSED 10.0.0.7:3307", True),
        (b"Error: connect ECONNREFUSED ::1:3306", b"Error: connect ECONNREFUSED 127.0.0.1:3306", True),
        (b"id 7f9c24e8-3b12-4fef-91e0-5a2d7c1b9a10 gone", b"id 00000000-3b12-4fef-91e0-5a2d7c1b9a10 gone", True),
        (b"hash deadbeef12 bad", b"hash 0badc0ffee bad", True),
        (b"ptr 0xdeadbeef", b"ptr 0x1", True),
        (b"column 'a' unknown", b"column 'b' unknown", True),
        (b'key "a" missing', b'key "bb" missing', True),
        (b"in /a/b.js:12:3", b"in /a/b.js:99:1", True),
        (b"at 2025-11-01T09:00:00Z", b"at 2024-01-01 10:00:00", True),
        (b"can't open", b"won't open", False),
        (b"Error: connect ECONNREFUSED", b"Error: connect ETIMEDOUT", False),
        (b"a", b"b", False),
    ],
)
def test_what_makes_two_errors_the_same(one: bytes, other: bytes, same: bool) -> None:
    found = [parse(P + text + b"\n").final() for text in (one, other)]
    assert (found[0] == found[1]) is same


def test_the_first_frame_of_the_application_tells_errors_apart_and_line_numbers_do_not() -> None:
    def of(function: str, line: int, library: int = 1) -> list[str]:
        trace = (
            f"Error: x\n    at lib (/a/node_modules/l.js:{library}:1)\n    at {function} (/a/dist/x.js:{line}:1)\n"
            f"    at caller{library} (/a/dist/y.js:1:1)\n"
        )
        return parse(P + trace.encode()).final()

    assert of("f", 1) == of("f", 99) == of("f", 1, library=5)
    assert of("f", 1) != of("g", 1)
    assert of("f", 1) != parse(P + b"Error: x\n").final()


def test_binary_lines_are_counted_apart() -> None:
    events = Events()
    parser = EventParser(events, now=NOW, undated=NOW)
    parser.feed(bytes(range(128, 256)) * 4 + b"\n" + bytes(range(1, 10)) * 9 + b"\nboom\n")
    parser.state()
    assert [t for _, t, _ in events.added] == [b"boom"]
    assert parser.binary_lines == 2


def test_a_long_line_is_cut() -> None:
    (event,) = parse(b"x" * 3_000_000 + b"\n").added
    assert len(event[1]) == log_events.MAX_LINE


def test_no_memory_grows_with_the_log() -> None:
    parser = EventParser(Events(), now=NOW, undated=NOW)
    for number in range(5000):
        parser.feed(b"%s%s failed %d\n    at f%d (/a/%d.js:1:1)\n" % (P, b"x" * 20, number, number, number))
    assert max(len(parser._hashes), len(parser._frames), len(parser._days)) <= 1024


def test_quiet_logs_are_parsed_fast_enough() -> None:
    """The target is 100 MB/s; a tenth of it fails nobody's busy machine and still notices a quadratic parser."""
    line = P + b"[INFO] request served in 12 ms, nothing else is there to be said about it at all\n"
    data = line * ((4 << 20) // len(line))
    parser = EventParser(Events(), now=NOW, undated=NOW)
    started = time.process_time()
    parser.feed(data)
    assert len(data) / (time.process_time() - started) > 10e6


LINES = st.sampled_from(
    [
        P,
        P + b"boom\n",
        b"boom\n",
        LATER + b"bang\n",
        b"    at f (/a/b.js:1:2)\n",
        b"    at n (node:net:1:1)\n",
        b"}\n",
        b"\n",
        P + b"\n",
        b"/a/x.js:12\n",
        P + b"/a/x.js:12\n",
        b"  indented\n",
        P + b"  indented\n",
        LATER + b"  indented\n",
        P + b"[INFO] fine\n",
        b"[INFO] fine\n",
        b"warn: x\n",
        b"{ a: 1 }\n",
        b"Node.js v20.1.0\n",
        b'{"level":50,"msg":"j"}\n',
        b'{"level":30,"msg":"j"}\n',
        b"\x00\x00",
        b"\x1b[31m",
        b"\xff\xfe\n",
        b"x" * 9000,
        b'{"message":"q\\nr","timestamp":"2025-11-01T09:00:05Z","type":"err"}\n',
        b"2025-02-31 10:00:00 [INFO] x\n",
        b"2025-11-01 09:00:01 [ERROR] e\n",
        TRACE,
        UNCAUGHT,
    ]
)
LOGS = st.lists(LINES | st.binary(max_size=12), max_size=14).map(b"".join)


@given(LOGS, st.lists(st.integers(0, 30), max_size=3), st.booleans())
@settings(max_examples=300)
def test_resuming_between_any_two_lines_changes_nothing(data: bytes, cuts: list[int], levels_only: bool) -> None:
    lines = data.splitlines(True) if not data else [line + b"\n" for line in data.split(b"\n")]
    whole = parse(b"".join(lines), levels_only=levels_only)
    events, state = Events(), None
    marks = [0, *sorted(cut for cut in cuts if cut <= len(lines)), len(lines)]
    for start, end in itertools.pairwise(marks):
        parser = EventParser(events, state, now=NOW, undated=NOW - 5, levels_only=levels_only)
        parser.feed(b"".join(lines[start:end]))
        state = parser.state()
    assert len(events.added) == len(whole.added)
    assert events.final() == whole.final()


@given(st.binary(max_size=400))
def test_no_bytes_raise(data: bytes) -> None:
    parse(data + b"\n")


@given(
    st.dictionaries(
        st.sampled_from("mthfd"),
        st.none()
        | st.booleans()
        | st.text(max_size=9)
        | st.floats()
        | st.integers()
        | st.sampled_from(["event", "header"]),
    )
)
def test_no_state_raises(state: dict[str, Any]) -> None:
    parse(P + TRACE, state=state)
