"""The end of a backup's pipe: what was written is hashed, and a disk without room ends the pipeline with the reason."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orquestrador.backup import sink, store
from orquestrador.core.messages import plain


class Pipeline:
    def __init__(self) -> None:
        self.reasons: list[Any] = []

    def alive(self) -> None:
        pass

    def end(self, reason: Any) -> None:
        self.reasons.append(reason)


def written(directory: Path, data: bytes, reserve: int = 0) -> tuple[sink.Sink, Pipeline]:
    pipeline = Pipeline()
    read, write = os.pipe()
    with (directory / "target").open("wb") as target:
        made: Any = sink.Sink(str(directory), target.fileno(), reserve, pipeline)  # type: ignore[arg-type]
        thread = threading.Thread(target=made.write, args=(read,))
        thread.start()
        try:
            with os.fdopen(write, "wb") as pipe:
                pipe.write(data)
        except BrokenPipeError:
            pass
        finally:
            thread.join(1)
            os.close(read)
            thread.join(10)
    return made, pipeline


def test_what_comes_is_written_counted_and_hashed(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    made, pipeline = written(tmp_path, data)
    assert (tmp_path / "target").read_bytes() == data
    assert (made.bytes, made.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert pipeline.reasons == []


def test_the_reserve_stays_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "CHECK_EVERY", 1)
    monkeypatch.setattr(sink, "free_bytes", lambda _: 99)
    made, pipeline = written(tmp_path, b"x" * 10, reserve=100)
    (reason,) = pipeline.reasons
    assert plain(reason) == f"no space left for the backup in {tmp_path}: free some space there"
    assert made.bytes == 10


@pytest.mark.parametrize(("code", "reason"), [(errno.EDQUOT, "no space left"), (errno.EIO, "Input/output error")])
def test_reasons_of_write_failures(code: int, reason: str) -> None:
    assert reason in plain(sink.write_failure("/srv", OSError(code, os.strerror(code))))


def test_data_gets_its_name_before_its_manifest_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "partial").write_bytes(b"data")
    renamed: list[str] = []
    rename = os.rename
    monkeypatch.setattr(
        store,
        "os",
        SimpleNamespace(**{**vars(os), "rename": lambda a, b: (renamed.append(Path(b).name), rename(a, b))}),
    )
    store.commit(str(tmp_path), str(tmp_path / "partial"), {"id": "one", "file": "one.age"})
    assert renamed == ["one.age", "one.json"]
    assert (tmp_path / "one.age").read_bytes() == b"data"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.age", "one.json"]
