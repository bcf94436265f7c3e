"""Samples that the history could not take, kept in a file until it can: a probe is never lost silently.

``<state_dir>/spool/samples.jsonl``, mode 0600: one row of ``samples`` a line, written and synced. Whoever next opens
the history stores them; doing so twice, because it was interrupted, changes nothing. A line that was half written when
the power went is left out, and so are blank ones: they keep the file at some length, so that on a disk that is full,
where neither history nor file could grow, there is room for what is seen.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from orquestrador.core.messages import msg

from ..core.coerce import number
from ..core.errors import HistoryError, reason_of
from ..core.files import locked, private_dir
from .rows import as_json

if TYPE_CHECKING:
    import sqlalchemy as sa

    from .store import History

LOCK_TIMEOUT_S = 30.0
RESERVE_BYTES = 1 << 20  # some two thousand samples
_CHUNK = 2000  # rows of one transaction
_PIECE = 1 << 16


def path_of(state_dir: Path) -> Path:
    """Where samples wait."""
    return Path(state_dir) / "spool" / "samples.jsonl"


def waiting(state_dir: Path) -> bool:
    """Whether any sample waits."""
    try:
        with path_of(state_dir).open("rb") as stream:
            return stream.read(1) not in (b"", b"\n")
    except OSError:
        return False


def keep(state_dir: Path, rows: Iterable[Mapping[str, Any]], error: OSError) -> HistoryError:
    """Put rows of ``samples`` aside because of ``error``; returns what to raise instead, in one line that says so."""
    kept = list(rows)
    reason = reason_of(error)
    if not kept:
        return HistoryError(msg("{reason}", reason=reason))
    path = str(path_of(state_dir))
    try:
        append(state_dir, kept)
    except OSError as other:
        return HistoryError(
            msg(
                "{reason} - and {samples} sample(s) are lost, because {path} cannot be written either: {other}",
                reason=reason,
                samples=len(kept),
                path=path,
                other=other.strerror or str(other),
            )
        )
    return HistoryError(
        msg(
            "{reason} - {samples} sample(s) are kept in {path} and stored as soon as the history can be written",
            reason=reason,
            samples=len(kept),
            path=path,
        )
    )


def reserve(state_dir: Path) -> None:
    """Give the file its length while there is room. Where there is none that is no error: it is for worse days."""
    path = path_of(state_dir)
    with contextlib.suppress(OSError):
        if path.stat().st_size >= RESERVE_BYTES:
            return
    with contextlib.suppress(OSError):
        private_dir(path.parent)
        with locked(path, wait_s=0.0) as handle:
            size = os.fstat(handle).st_size
            _write(handle, b"\n" * (RESERVE_BYTES - size), size, size)


def append(state_dir: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows, whole and synced. Raises ``OSError``; then the file says what it said."""
    text = "".join(as_json(dict(row)) + "\n" for row in rows).encode()
    path = path_of(state_dir)
    private_dir(path.parent)
    with locked(path, wait_s=LOCK_TIMEOUT_S) as handle:
        end = _end(handle)
        if end and os.pread(handle, 1, end - 1) != b"\n":
            text = b"\n" + text  # what was half written stays a line of its own
        _write(handle, text, end, os.fstat(handle).st_size)


def _end(handle: int) -> int:
    """Where the next line goes: after the last that is not blank, and its end."""
    if os.pread(handle, 1, 0) == b"\n":
        return 0  # all of it was stored
    at = size = os.fstat(handle).st_size
    while at > 0:
        first = max(at - _PIECE, 0)
        if text := os.pread(handle, at - first, first).rstrip(b"\n"):
            return min(first + len(text) + 1, size)
        at = first
    return 0


def _write(handle: int, text: bytes, at: int, size: int) -> None:
    """Write ``text`` from ``at`` on, and sync; else make the file of ``size`` bytes what it was: blank from there."""
    try:
        view, place = memoryview(text), at
        while view:
            done = os.pwrite(handle, view, place)
            view, place = view[done:], place + done
        os.fsync(handle)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, size)
            if size > at:
                os.pwrite(handle, b"\n" * min(size - at, len(text)), at)
        raise


def replay(store: History, state_dir: Path) -> int:
    """Store what waits; how many samples were new. Nothing while another process is at it, or may be writing there.

    Raises :class:`HistoryError`, and nothing is lost by that.
    """
    done = 0
    try:
        with locked(path_of(state_dir), wait_s=0.0, create=False) as handle:
            with os.fdopen(os.dup(handle), "rb") as stream:
                for rows in _read(stream, _end(handle)):
                    # Once: whoever opens a store that is taken would wait here before it waits for itself.
                    done += store.write(
                        lambda connection, rows=rows: _store(store, connection, rows),  # type: ignore[misc]
                        attempts=1,
                    )
            # Blank rather than gone: the room is not to be had again on a disk that is full.
            size = min(os.fstat(handle).st_size, RESERVE_BYTES)
            os.ftruncate(handle, size)
            _write(handle, b"\n" * size, 0, size)
    except HistoryError:
        raise
    except OSError:  # taken, gone, or not ours
        return done
    return done


def _read(stream: BinaryIO, end: int) -> Iterator[list[dict[str, Any]]]:
    from . import schema

    known = {column.name for column in schema.samples.columns} - {"id"}
    rows: list[dict[str, Any]] = []
    while end > 0 and (line := stream.readline()):
        end -= len(line)  # behind it there are only blank lines, very many of them
        if line == b"\n":
            continue
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if not isinstance(row, dict) or not isinstance(row.get("host"), str) or number(row.get("at")) is None:
            continue
        blank = {"source": "watch", "ok": False, "overall": "unknown"}
        rows.append({**dict.fromkeys(known), **blank, **{name: row[name] for name in known & row.keys()}})
        if len(rows) == _CHUNK:
            yield rows
            rows = []
    if rows:
        yield rows


def _store(store: History, connection: sa.Connection, rows: list[dict[str, Any]]) -> int:
    import sqlalchemy as sa

    from . import schema

    table = schema.samples
    done = 0
    runs = [row for row in rows if row["run_id"] is not None]
    # A writing statement first; of a run there is one sample, and the history's own is no worse.
    for row in runs:
        held = connection.execute(sa.update(table).where(table.c.run_id == row["run_id"]).values(run_id=row["run_id"]))
        if held.rowcount == 0:
            done += 1
            store.upsert(connection, table, row, ("run_id",))
    others: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["run_id"] is None:
            others.setdefault(row["host"], []).append(row)
    for host, some in others.items():
        low, high = min(row["at"] for row in some), max(row["at"] for row in some)
        mine = sa.and_(table.c.host == host, table.c.at >= low, table.c.at <= high)
        connection.execute(sa.update(table).where(mine, table.c.id < 0).values(host=host))
        held_rows = connection.execute(sa.select(table.c.at, table.c.source).where(mine)).all()
        known = {(at, source) for at, source in held_rows}
        new = []
        for row in some:
            if (row["at"], row["source"]) not in known:
                known.add((row["at"], row["source"]))
                new.append(row)
        if new:
            connection.execute(sa.insert(table), new)
            done += len(new)
    return done
