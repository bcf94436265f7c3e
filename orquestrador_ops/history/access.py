"""Opening a history, and reading a baseline without waiting for the database library where that is possible."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg

from ..core.errors import HistoryError
from ..core.files import private_dir
from .baseline import STORE, read_cache

if TYPE_CHECKING:
    from .store import History


def open_history(state_dir: Path, url: str | None = None) -> History:
    """Open the default store ``<state_dir>/history.sqlite3``, or the one at ``url``; create and migrate as needed.

    Raises :class:`HistoryError`.
    """
    from .store import History

    if url is not None:
        return _with_what_waited(History(url), state_dir)
    try:
        private_dir(Path(state_dir))
    except OSError as error:
        raise HistoryError(
            msg(
                "history store in {path}: cannot create the directory: give this user write access, "
                "or set ops_state_dir to a directory that has it ({reason})",
                path=str(state_dir),
                reason=error.strerror,
            )
        ) from error
    store = (Path(state_dir) / STORE).resolve()
    with contextlib.suppress(OSError):  # said better when it is opened
        os.close(os.open(store, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would make it 0644
    import sqlalchemy as sa

    url_of_file = sa.URL.create("sqlite", database=str(store))
    return _with_what_waited(History(url_of_file, state_dir=Path(state_dir)), state_dir)


def absent(state_dir: Path, url: str | None) -> bool:
    """Whether there is no history yet: who only looks makes none."""
    return url is None and not (Path(state_dir) / STORE).exists()


def _with_what_waited(store: History, state_dir: Path) -> History:
    """``store`` with the samples that it could not take before; what it still cannot take waits on."""
    from . import spool

    if spool.waiting(state_dir):
        with contextlib.suppress(HistoryError):  # whoever goes on to write is told
            spool.replay(store, state_dir)
    return store


def warm() -> None:
    """Load what the first connection of a process loads: forked workers inherit it from a parent that called this."""
    import sqlalchemy as sa

    from . import schema, spool, store  # noqa: F401 - loaded here, they are there in every worker

    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(sa.select(schema.runs.c.run_id).where(sa.false()).with_only_columns(sa.literal(1)))
    engine.dispose()


def recall(state_dir: Path, url: str | None, host: str, procedure: str) -> dict[str, Any]:
    """What the last concluded run of ``procedure`` on ``host`` remembered; ``{}`` when there was none.

    ``url`` is the history's, ``None`` for the default store in ``state_dir``; another one is always asked itself.
    Raises :class:`orquestrador_ops.core.errors.HistoryError` when the history has to be asked and cannot answer.
    """
    if url is None:
        cached = read_cache(Path(state_dir), host, procedure)
        if cached is not None:
            return cached
        if absent(state_dir, url):
            return {}
    with open_history(Path(state_dir), url) as history:
        return history.recall(host, procedure)
