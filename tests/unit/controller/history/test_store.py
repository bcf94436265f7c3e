from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateIndex, CreateTable

import orquestrador_ops
from orquestrador_ops.core.errors import HistoryError
from orquestrador_ops.core.i18n import translator
from orquestrador_ops.history import access, schema
from orquestrador_ops.history import baseline as memory
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.rows import moved_on
from orquestrador_ops.history.store import History
from tests.unit import children
from tests.unit.fakes.records import planned_restarts, record_planned_restart, record_sample

PACKAGE = Path(orquestrador_ops.__file__).parent
Run = tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]


def one_line(error: pytest.ExceptionInfo[HistoryError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def remember(state_dir: Path, url: str | None, host: str, procedure: str, memory: dict[str, Any]) -> None:
    with open_history(state_dir, url) as history:
        history.remember(host, procedure, memory)


# ------------------------------------------------------------------ schema


def test_migrations_from_nothing_give_the_declared_schema(tmp_path: Path) -> None:
    open_history(tmp_path).close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / memory.STORE}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_declared_revision_is_the_head_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(PACKAGE / "history" / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.REVISION


@pytest.mark.parametrize("name", sorted(schema.metadata.tables))
def test_tables_compile_for_mysql(name: str) -> None:
    table, dialect = schema.metadata.tables[name], mysql.dialect()
    ddl = str(CreateTable(table).compile(dialect=dialect))
    assert "VARCHAR," not in ddl  # MySQL wants lengths
    for index in table.indexes:
        assert "CREATE" in str(CreateIndex(index).compile(dialect=dialect))
        size = sum(4 * (getattr(column.type, "length", None) or 2) for column in index.columns)
        assert size <= 3072, "InnoDB's limit for a key, with utf8mb4"


def test_migrations_compile_for_mysql() -> None:
    ddl: list[str] = []
    context = MigrationContext(mysql.dialect(), None, {"as_sql": True, "output_buffer": _Lines(ddl)})
    with Operations.context(context):
        for version in ("0001_initial", "0002_emergencies", "0003_service_levels"):
            importlib.import_module(f"orquestrador_ops.history.migrations.versions.{version}").upgrade()
    assert sum("CREATE TABLE" in line for line in ddl) == len(schema.metadata.tables)
    assert any("`procedure` VARCHAR(64)" in line for line in ddl)


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def write(self, text: str) -> None:
        self.lines.append(text)

    def flush(self) -> None:
        pass


def test_opening_an_up_to_date_store_does_not_import_alembic(tmp_path: Path) -> None:
    open_history(tmp_path).close()
    script = (
        "import sys, pathlib; from orquestrador_ops.history.access import open_history;"
        "open_history(pathlib.Path(sys.argv[1])).runs(); sys.exit('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=PACKAGE.parent, timeout=60, check=False)
    assert done.returncode == 0


# ------------------------------------------------------------------ runs, samples, memories


def test_concluded_run_comes_back(tmp_path: Path, healthy: Run) -> None:
    record, snapshot, verdict = healthy
    with open_history(tmp_path) as history:
        history.conclude({**record, "reports": {"md": "/r.md"}}, snapshot, verdict, {"taken_at": "x", "logs": {"a": 1}})
        found = history.last_run("web-01", "daily")
        assert found is not None
        assert found["started_at"] == "2026-11-22T12:00:00+00:00"
        assert found["ended_at"] == "2026-11-22T12:00:01.900000+00:00"
        same = ("run_id", "operator", "outcome", "steps", "verdict_before", "verdict_after", "budget_s", "check_mode")
        assert {name: found[name] for name in same} == {name: record[name] for name in same}
        assert found["reports"] == {"md": "/r.md"}
        assert history.recall("web-01", "daily") == {"taken_at": "x", "logs": {"a": 1}}
        (sample,) = history.samples("web-01")
    expected = {
        "ok": True,
        "overall": "healthy",
        "status": 200,
        "latency_ms": 12.3,
        "memory_bytes": 91_231_231,
        "restarts": 3,
        "source": "daily",
        "run_id": record["run_id"],
    }
    assert {name: sample[name] for name in expected} == expected


def test_concluding_twice_changes_nothing(tmp_path: Path, healthy: Run) -> None:
    with open_history(tmp_path) as history:
        for _ in range(2):
            history.conclude(*healthy, {"n": 1})
        assert (len(history.runs()), len(history.samples("web-01"))) == (1, 1)


def test_conclusion_is_all_or_nothing(tmp_path: Path, healthy: Run) -> None:
    record, snapshot, verdict = healthy
    with open_history(tmp_path) as history:
        history.remember("web-01", "daily", {"n": 1})
        with sqlite3.connect(tmp_path / memory.STORE) as connection:
            connection.execute("CREATE TRIGGER t BEFORE UPDATE ON memories BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(HistoryError):
            history.conclude(record, snapshot, verdict, {"n": 2})
        assert (history.runs(), history.samples("web-01")) == ([], [])
    # The copy must not outlive what it copies.
    assert access.recall(tmp_path, None, "web-01", "daily") == {"n": 1}


def test_unreachable_host_leaves_no_sample_and_keeps_the_memory(tmp_path: Path, healthy: Run, unreachable: Run) -> None:
    with open_history(tmp_path) as history:
        history.conclude(*healthy, {"n": 1})
        history.conclude({**unreachable[0], "run_id": "later"}, None, None, None)
        assert len(history.samples("web-01")) == 1
        assert history.recall("web-01", "daily") == {"n": 1}


@pytest.mark.parametrize("check", ["http.status", "app.status", "app.database"])
def test_sample_is_good_only_when_the_application_is(tmp_path: Path, healthy: Run, check: str) -> None:
    _, snapshot, verdict = healthy
    assert verdict is not None
    next(c for c in verdict["checks"] if c["id"] == check)["status"] = "critical"
    with open_history(tmp_path) as history:
        record_sample(history, "web-01", snapshot, verdict, "watch")
        assert [row["ok"] for row in history.samples("web-01")] == [False]


@pytest.mark.parametrize(
    "snapshot",
    [
        None,
        {},
        {"taken_at": None, "http": None, "pm2": {"app": None}},
        {"http": {"status": "200"}, "taken_at": "never"},
    ],
)
def test_sample_of_a_poor_snapshot_is_stored(tmp_path: Path, snapshot: Any) -> None:
    with open_history(tmp_path) as history:
        record_sample(history, "web-01", snapshot, None, "watch")
        (row,) = history.samples("web-01")
    assert (row["ok"], row["overall"], row["status"]) == (False, "unknown", None)


def test_values_json_does_not_know_are_stored(tmp_path: Path, healthy: Run) -> None:
    record, snapshot, verdict = healthy
    odd = {"nan": float("nan"), "half": "\ud800", "path": Path("/x"), "nested": [{"inf": float("-inf")}]}
    with open_history(tmp_path) as history:
        history.conclude({**record, "operator": "a\ud800"}, snapshot, verdict, odd)
        assert history.recall("web-01", "daily") == {
            "nan": None,
            "half": "?",
            "path": "/x",
            "nested": [{"inf": None}],
        }
    assert access.recall(tmp_path, None, "web-01", "daily")["nan"] is None


def test_last_run_leaves_out_check_mode(tmp_path: Path, healthy: Run) -> None:
    record, _, _ = healthy
    with open_history(tmp_path) as history:
        history.record_run(record)
        history.record_run({**record, "run_id": "dry", "check_mode": True, "started_at": "2026-11-23T00:00:00Z"})
        found, dry = history.last_run("web-01", "daily"), history.last_run("web-01", "daily", check_mode=True)
    assert found is not None and found["run_id"] == record["run_id"]
    assert dry is not None and dry["run_id"] == "dry"


def test_runs_are_filtered_and_newest_first(tmp_path: Path, healthy: Run) -> None:
    record, _, _ = healthy
    with open_history(tmp_path) as history:
        for number in range(5):
            history.record_run(
                {
                    **record,
                    "run_id": f"r{number}",
                    "host": f"h{number % 2}",
                    "started_at": f"2026-11-2{number}T00:00:00Z",
                }
            )
        assert [run["run_id"] for run in history.runs(host="h0")] == ["r4", "r2", "r0"]
        assert [run["run_id"] for run in history.runs(since="2026-11-21T00:00:00Z", until="2026-11-23T00:00:00Z")] == [
            "r2",
            "r1",
        ]
        assert [run["run_id"] for run in history.runs(limit=1)] == ["r4"]
        assert history.last_run("h0", "weekly") is None


def test_planned_restarts_are_counted_after_a_moment(tmp_path: Path) -> None:
    with open_history(tmp_path) as history:
        record_planned_restart(history, "h", "app", at="2026-11-22T10:00:00Z", count=2, run_id="r")
        record_planned_restart(history, "h", "app", at="2026-11-22T12:00:00Z")
        record_planned_restart(history, "h", "other", at="2026-11-22T12:00:00Z")
        assert planned_restarts(history, "h", "app") == 3
        assert planned_restarts(history, "h", "app", "2026-11-22T10:00:00Z") == 1
        assert planned_restarts(history, "h", "app", "2026-11-22T07:00:00-03:00") == 1
        assert planned_restarts(history, "x", "app") == 0
        assert history.last_planned_restart("h", "app") == "2026-11-22T12:00:00+00:00"
        assert history.last_planned_restart("x", "app") is None


def test_tally_counts_one_host_since_an_instant(tmp_path: Path, healthy: Run) -> None:
    record, snapshot, verdict = healthy
    assert snapshot is not None and verdict is not None
    bad = {**verdict, "checks": [{"id": "http.status", "status": "critical"}]}
    with open_history(tmp_path) as history:
        for day, judged in enumerate((verdict, verdict, bad, verdict), 20):
            at = f"2026-11-{day}T12:00:00+00:00"
            run = {**record, "run_id": at, "started_at": at, "outcome": "met" if judged is verdict else "not_met"}
            history.conclude(run, {**snapshot, "taken_at": at}, judged)
        history.record_run({**record, "run_id": "dry", "check_mode": True})
        history.record_run({**record, "run_id": "elsewhere", "host": "other"})
        assert history.tally("web-01", "2026-11-21T00:00:00Z") == {
            "since_at": "2026-11-21T00:00:00+00:00",
            "probes": 3,
            "probes_good": 2,
            "runs": 3,
            "runs_met": 2,
        }
        assert history.tally("nobody", None)["probes"] == 0


# ------------------------------------------------------------------ what goes wrong


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    open_history(tmp_path).close()
    with sqlite3.connect(tmp_path / memory.STORE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(HistoryError) as error:
        open_history(tmp_path)
    text = one_line(error)
    assert "9999" in text and "newer" in text and str(tmp_path) in text
    assert "o esquema 9999 é mais novo" in translator("pt_BR").message(error.value.message)


@pytest.mark.parametrize(
    "content", [b"this is not a database, only text " * 200, b"SQLite format 3\0" + b"\xff" * 8000]
)
def test_damaged_file_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    store = tmp_path / memory.STORE
    store.write_bytes(content)
    with pytest.raises(HistoryError, match="damaged") as error:
        open_history(tmp_path)
    assert str(store) in one_line(error)
    assert store.read_bytes() == content


def test_state_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    with pytest.raises(HistoryError) as error:
        open_history(tmp_path / "var")
    assert "var" in one_line(error)


def test_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    with pytest.raises(HistoryError, match="cannot create the directory") as error:
        open_history(tmp_path / "var" / "deeper")
    one_line(error)


def test_read_only_store(tmp_path: Path) -> None:
    """The database itself refuses, because root, as whom CI runs, may write everywhere."""
    open_history(tmp_path).close()
    with pytest.raises(HistoryError, match="write access") as error:
        History(f"sqlite:///file:{tmp_path / memory.STORE}?mode=ro&uri=true").remember("h", "daily", {})
    one_line(error)


def test_full_disk(tmp_path: Path, healthy: Run) -> None:
    with open_history(tmp_path) as history:
        # SQLite's own limit on pages says exactly what a full disk makes it say.
        history._engine.dispose()  # the next connection is a new one
        sa.event.listen(history._engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count=1"))
        with pytest.raises(HistoryError, match="free some space") as error:
            history.remember("h", "daily", {"big": "x" * 1_000_000})
        one_line(error)


@pytest.mark.parametrize(
    "url",
    ["", "not a url hunter2", "oracle+nothing://u:hunter2@h/d", "mysql+pymysql://u:hunter2@h:port/d", "sqlite"],
)
def test_unusable_url_does_not_show_its_password(url: str) -> None:
    with pytest.raises(HistoryError) as error:
        History(url)
    assert "hunter2" not in one_line(error)


def test_missing_driver_is_told_from_a_wrong_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(HistoryError, match="driver is not installed: install pymysql") as error:
        History("mysql+pymysql://u:hunter2@h/d")
    assert "hunter2" not in one_line(error)


def test_server_that_is_not_there_does_not_show_its_password() -> None:
    with pytest.raises(HistoryError, match="does not answer") as error:
        History("mysql+pymysql://ops:hunter2@127.0.0.1:1/ops")
    text = one_line(error)
    assert "hunter2" not in text and "127.0.0.1" in text


def test_store_and_directory_are_private(tmp_path: Path) -> None:
    state = tmp_path / "a" / "b"
    open_history(state).close()
    assert state.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in state.iterdir() if path.stat().st_mode & 0o077} == set()


# ------------------------------------------------------------------ several processes


def _write(arguments: tuple[str, int]) -> str:
    state, number = arguments
    try:
        for run in range(5):
            with open_history(Path(state)) as history:
                record = {"run_id": f"{number}-{run}", "procedure": "daily", "host": "h", "started_at": 1e9 + run}
                history.conclude(record, {"taken_at": None}, {"overall": "healthy"}, {"number": number, "run": run})
    except HistoryError as error:
        return str(error)
    return ""


def test_ten_processes_create_and_fill_one_store(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn" if sys.platform == "darwin" else "fork").Pool(10) as pool:
        said = pool.map_async(_write, [(str(tmp_path), number) for number in range(10)], chunksize=1).get(timeout=90)
    assert said == [""] * 10
    with open_history(tmp_path) as history:
        assert len(history.runs(limit=1000)) == 50
        assert len(history.samples("h")) == 50
        last = history.recall("h", "daily")
    assert last["run"] == 4
    with sqlite3.connect(tmp_path / memory.STORE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# ------------------------------------------------------------------ memory copies


def test_memory_of_nothing_is_empty_and_creates_nothing(tmp_path: Path) -> None:
    assert access.recall(tmp_path / "var", None, "h", "daily") == {}
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("damage", ["remove", "empty", "half", "binary", "list", "other host", "other schema", "huge"])
def test_damaged_copy_falls_back_to_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    remember(tmp_path, None, "h", "daily", {"n": 1})
    path = memory.cache_path(tmp_path, "h", "daily")
    whole = path.read_bytes()
    if damage == "remove":
        path.unlink()
    elif damage == "huge":
        path.write_bytes(whole.replace(b": 1}}", b": 2}}"))
        monkeypatch.setattr(memory, "MAX_CACHE_BYTES", 3)
    else:
        spoiled = {
            "empty": b"",
            "half": whole[: len(whole) // 2],
            "binary": b"\xff\xfe\0",
            "list": b"[" * 100_000,
            "other host": whole.replace(b'"h"', b'"i"').replace(b": 1}", b": 2}"),
            "other schema": whole.replace(b'"schema": 1', b'"schema": 2').replace(b": 1}}", b": 2}}"),
        }[damage]
        assert spoiled != whole
        path.write_bytes(spoiled)
    assert access.recall(tmp_path, None, "h", "daily") == {"n": 1}


def test_copy_serves_without_the_database_library(tmp_path: Path) -> None:
    remember(tmp_path, None, "h", "daily", {"n": 1})
    done = subprocess.run(
        children.command("recall_copy", tmp_path),
        cwd=PACKAGE.parent,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == [json.dumps({"n": 1}), "[]"]


def test_other_stores_are_always_asked(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.sqlite3'}"
    remember(tmp_path, url, "h", "daily", {"n": 1})
    memory.cache(tmp_path, url, "h", "daily", {"n": 2})
    assert not (tmp_path / "memory").exists()
    memory.cache(tmp_path, None, "h", "daily", {"n": 3})
    assert access.recall(tmp_path, url, "h", "daily") == {"n": 1}


def test_copy_is_private(tmp_path: Path) -> None:
    remember(tmp_path, None, "h", "daily", {"n": 1})
    path = memory.cache_path(tmp_path, "h", "daily")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_copy_that_cannot_be_removed_stops_the_change(tmp_path: Path) -> None:
    remember(tmp_path, None, "h", "daily", {"n": 1})
    path = memory.cache_path(tmp_path, "h", "daily")
    path.unlink()
    path.mkdir()  # unlink refuses a directory, for root too
    with pytest.raises(HistoryError, match="cannot be replaced"):
        remember(tmp_path, None, "h", "daily", {"n": 2})
    path.rmdir()
    assert access.recall(tmp_path, None, "h", "daily") == {"n": 1}


def test_store_opened_before_a_fork_serves_both_sides(tmp_path: Path) -> None:
    with open_history(tmp_path) as history:
        history.remember("h", "daily", {"n": 0})
        connected: list[int] = []
        sa.event.listen(history._engine, "connect", lambda *_: connected.append(os.getpid()))
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                history.remember("child", "daily", {"n": 1})
                # Over a connection of its own: using the parent's works by luck, until it does not.
                status = 0 if connected == [os.getpid()] else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        history.remember("parent", "daily", {"n": 2})
        assert (history.recall("child", "daily"), history.recall("parent", "daily")) == ({"n": 1}, {"n": 2})


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (None, {"restarts": {"count": 3, "by_id": {"0": 1, "1": 2}}}),
        ({"logs": {"a": 1}}, {"logs": {"a": 1}, "restarts": {"count": 3, "by_id": {"0": 1, "1": 2}}}),
        # Moved on, not set: what PM2 counted beside the reload is still to be seen.
        (
            {"restarts": {"count": 9, "by_id": {"0": 4, "1": 5}, "pids": [7]}},
            {"restarts": {"count": 12, "by_id": {"0": 5, "1": 7}, "pids": [7]}},
        ),
        # A worker that it does not know.
        ({"restarts": {"count": 4, "by_id": {"0": 4}}}, {"restarts": {"count": 5, "by_id": {"0": 5}}}),
        ({"restarts": {"count": 4, "by_id": {}}}, {"restarts": {"count": 7, "by_id": {}}}),
        ({"restarts": "broken"}, {"restarts": {"count": 3, "by_id": {"0": 1, "1": 2}}}),
    ],
)
def test_own_restarts_move_a_memory_on(held: Any, expected: dict[str, Any]) -> None:
    assert moved_on(held, {"0": 1, "1": 2}) == expected


def test_own_restarts_reach_every_memory_of_the_host_once(tmp_path: Path) -> None:
    with open_history(tmp_path) as history:
        for host, procedure in (("h", "daily"), ("h", "watch"), ("other", "daily")):
            history.remember(host, procedure, {"restarts": {"count": 2, "by_id": {"0": 2}}})
        for _ in range(2):
            history.own_restarts("h", "app", {"0": 1}, run_id="r1")
            assert history.recall("h", "watch")["restarts"]["count"] == 3
        history.own_restarts("new", "app", {"0": 1}, run_id="r1")
        moved = {"restarts": {"count": 3, "by_id": {"0": 3}}}
        for procedure in ("daily", "watch"):
            assert history.recall("h", procedure) == moved
            assert access.recall(tmp_path, None, "h", procedure) == moved
            assert memory.read_cache(tmp_path, "h", procedure) == moved
        assert history.recall("other", "daily")["restarts"]["count"] == 2
        assert history.recall("new", "daily") == {"restarts": {"count": 1, "by_id": {"0": 1}}}
        assert planned_restarts(history, "h", "app") == 1
