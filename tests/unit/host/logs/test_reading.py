"""How far an open log is read: complete lines, within its share, and the unfinished last line."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orquestrador.logs import reading
from orquestrador.logs.reading import Held, Reached, feed_lines


class Lines:
    """A parser that keeps what it is fed."""

    binary_lines = 0
    last_timestamp = None

    def __init__(self) -> None:
        self.fed = b""

    def feed(self, data: bytes) -> None:
        self.fed += data

    def state(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "app.log"
    path.touch()
    return path


def read(
    path: Path, parser: Lines, offset: int = 0, *, skip: bool = False, share: int = 1 << 30, **more: Any
) -> Reached:
    fd = os.open(path, os.O_RDONLY)
    try:
        info = os.fstat(fd)
        held = Held(more.get("remembered"), info, more.get("now", info.st_mtime))
        return feed_lines(
            fd, info.st_size, offset, skip, share, parser, held, more.get("stop_at", time.monotonic() + 10)
        )
    finally:
        os.close(fd)


def test_complete_lines_are_fed_and_the_last_one_is_left(log: Path) -> None:
    log.write_bytes(b"one\ntwo\nthr")
    parser = Lines()
    assert read(log, parser) == Reached(8, False, [8, 3], 8)
    assert parser.fed == b"one\ntwo\n"


def test_an_unfinished_line_that_did_not_change_or_that_nobody_writes_is_counted_once(log: Path) -> None:
    log.write_bytes(b"one\nthr")
    for more in ({"remembered": [4, 3]}, {"now": log.stat().st_mtime + reading.PARTIAL_AGE_S + 1}):
        parser = Lines()
        assert read(log, parser, 4, **more) == Reached(7, True, None, 3)
        assert parser.fed == b"thr\n"
    log.write_bytes(b"one\nthree\nfour\n")
    parser = Lines()
    assert read(log, parser, 7, skip=True) == Reached(15, False, None, 8)
    assert parser.fed == b"four\n", "the rest belongs to the line that was counted"


def test_what_is_over_the_share_or_the_time_is_left_for_the_next_run(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK", 8)
    log.write_bytes(b"a line\n!" * 4)
    parser = Lines()
    reached = read(log, parser, share=8)
    assert (reached.offset, reached.read, reached.complete) == (7, 7, False)
    assert read(log, parser, stop_at=time.monotonic() - 1) == Reached(0, False, None, 0, complete=False)


def test_a_line_longer_than_a_piece_is_counted_by_its_beginning(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK", 8)
    log.write_bytes(b"0123456789\nnext\n")
    parser = Lines()
    assert read(log, parser) == Reached(16, False, None, 16)
    assert parser.fed == b"01234567\nnext\n"


def test_the_first_line_of_a_time_is_found_without_reading_all(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    rows = [f"2026-01-02T{hour:02}:{minute:02}:00Z {'x' * 400}\n" for hour in range(24) for minute in range(60)]
    path.write_text("".join(rows))
    fd = os.open(path, os.O_RDONLY)
    try:
        noon = 1767355200.0
        start = reading.find_time(fd, path.stat().st_size, noon)
    finally:
        os.close(fd)
    expected = len("".join(rows[: 12 * 60]))
    assert start is not None
    assert expected - 2 * 65536 < start <= expected
