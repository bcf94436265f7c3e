"""Samples that the history could not take, kept in a file until it can: a probe is never lost silently.

``<state_dir>/spool/samples.jsonl``, mode 0600: one row of ``samples`` a line, appended and synced. Whoever next opens
the history stores them; doing so twice, because it was interrupted, changes nothing. A line that was half written when
the power went is left out.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from module_utils.orquestrador.messages import msg
from module_utils.orquestrador.types import Message

from ..errors import HistoryError
from ..files import private_dir

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ..history import History

LOCK_TIMEOUT_S = 30.0
_CHUNK = 2000  # rows of one transaction


def path_of(state_dir: Path) -> Path:
    """Where samples wait."""
    return Path(state_dir) / "spool" / "samples.jsonl"


def waiting(state_dir: Path) -> bool:
    """Whether any sample waits."""
    try:
        return path_of(state_dir).stat().st_size > 0
    except OSError:
        return False


def keep(state_dir: Path, rows: Iterable[Mapping[str, Any]], error: OSError) -> HistoryError:
    """Put rows of ``samples`` aside because of ``error``; returns what to raise instead, in one line that says so."""
    kept = list(rows)
    reason: str | Message = getattr(error, "message", None) or str(error)
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


def append(state_dir: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows, whole and synced. Raises ``OSError``; then the file is as it was."""
    from ..history import as_json  # noqa: PLC0415 - the database library is loaded by whoever has rows

    text = "".join(as_json(dict(row)) + "\n" for row in rows).encode()
    path = path_of(state_dir)
    private_dir(path.parent)
    with _locked(path, wait_s=LOCK_TIMEOUT_S) as handle:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            text = b"\n" + text  # what was half written stays a line of its own
        try:
            view = memoryview(text)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, size)
            raise


def replay(store: History, state_dir: Path) -> int:
    """Store what waits; how many samples were new. Nothing while another process is at it, or may be writing there.

    Raises :class:`HistoryError`, and nothing is lost by that.
    """
    done = 0
    try:
        with _locked(path_of(state_dir), wait_s=0.0, create=False) as handle:
            with os.fdopen(os.dup(handle), "rb") as stream:
                for rows in _read(stream):
                    # Once: whoever opens a store that is taken would wait here before it waits for itself.
                    done += store.write(
                        lambda connection, rows=rows: _store(store, connection, rows),  # type: ignore[misc]
                        attempts=1,
                    )
            os.ftruncate(handle, 0)
            os.fsync(handle)
    except HistoryError:
        raise
    except OSError:  # taken, gone, or not ours
        return done
    return done


@contextlib.contextmanager
def _locked(path: Path, *, wait_s: float, create: bool = True) -> Iterator[int]:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    handle = os.open(path, flags, 0o600)
    try:
        until = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.02)
        yield handle
    finally:
        os.close(handle)  # releases the lock


def _read(stream: Iterable[bytes]) -> Iterator[list[dict[str, Any]]]:
    from .. import schema  # noqa: PLC0415

    known = {column.name for column in schema.samples.columns} - {"id"}
    rows: list[dict[str, Any]] = []
    for line in stream:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if not isinstance(row, dict) or not isinstance(row.get("host"), str) or not _is_time(row.get("at")):
            continue
        blank = {"source": "watch", "ok": False, "overall": "unknown"}
        rows.append({**dict.fromkeys(known), **blank, **{name: row[name] for name in known & row.keys()}})
        if len(rows) == _CHUNK:
            yield rows
            rows = []
    if rows:
        yield rows


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _store(store: History, connection: sa.Connection, rows: list[dict[str, Any]]) -> int:
    import sqlalchemy as sa  # noqa: PLC0415

    from .. import schema  # noqa: PLC0415

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
