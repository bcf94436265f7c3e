"""What 0.1.0 wrote stays readable: its history, its figures, its messages, and the state it left on a host."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orquestrador.app.dist import Dist
from orquestrador.backup import store as backups
from orquestrador.lease import model
from orquestrador_ops.core import catalogs
from orquestrador_ops.core.i18n import DOMAIN, FORMER, translator
from orquestrador_ops.history import access
from orquestrador_ops.history.store import History
from orquestrador_ops.incidents import store as incidents
from orquestrador_ops.reports import checklist, view
from tests.unit.controller.sla.filled import DAY, MONDAY, document, rounded

DATA = Path(__file__).resolve().parents[2] / "data" / "0.1.0"
HOST = "orquestrador-lab"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state directory of a controller as 0.1.0 left it."""
    with sqlite3.connect(tmp_path / "history.sqlite3") as made:
        made.executescript((DATA / "controller" / "history.sql").read_text(encoding="utf-8"))
    shutil.copytree(DATA / "controller" / "memory", tmp_path / "memory")
    return tmp_path


@pytest.fixture
def history(state: Path) -> Iterator[History]:
    with access.open_history(state) as opened:
        yield opened


def rows(state: Path, query: str) -> list[Any]:
    """By SQL, without the project's own reading."""
    with sqlite3.connect(state / "history.sqlite3") as connection:
        return connection.execute(query).fetchall()


def messages(value: Any) -> Iterator[str]:
    """Ids of all messages in a record, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("text"), str) and "args" in value:
            yield value["text"]
        for inner in value.values():
            yield from messages(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from messages(inner)


def test_every_run_is_read_and_shown_in_both_languages(state: Path, history: History) -> None:
    stored = rows(state, "SELECT run_id, procedure, outcome FROM runs ORDER BY started_at")
    read = history.runs(limit=1000)
    assert sorted((run["run_id"], run["procedure"], run["outcome"]) for run in read) == sorted(stored)
    assert {procedure for _, procedure, _ in stored} >= {"daily", "weekly", "monthly", "backup", "offline", "triage"}
    for run in read:
        for locale in ("pt_BR", "en"):
            tr = translator(locale)
            shown = checklist.render(view.build(run, None, run["verdict_after"], tr), tr, reports=run["reports"])
            assert run["run_id"] in shown
            assert "{" not in shown


def test_every_message_is_translated(history: History) -> None:
    known = {str(m.id) for name in (DOMAIN, FORMER) for m in catalogs.load("pt_BR", name) if m.string}
    found = set(messages(history.runs(limit=1000)))
    found |= set(messages(incidents.listed(history, closed=True)))
    for path in (DATA / "host" / "state" / "emergencies").glob("*.json"):
        found |= set(messages(json.loads(path.read_text(encoding="utf-8"))))
    assert len(found) > 100
    assert found <= known


def test_samples_packed_and_rolled_up_give_the_figures_they_gave(history: History) -> None:
    told = json.loads((DATA / "controller" / "web-01.json").read_text(encoding="utf-8"))
    now = rounded(document(history, "web-01", MONDAY, MONDAY + 3 * DAY, MONDAY + 92 * DAY))
    del now["evaluated_at"]
    assert json.loads(json.dumps(now)) == told


def test_incidents_and_their_ends_are_known(state: Path, history: History) -> None:
    stored = rows(state, "SELECT id, procedure, severity, closed_at IS NULL FROM incidents ORDER BY id")
    still_open = {one["id"] for one in incidents.listed(history, host=HOST)}
    listed = incidents.listed(history, host=HOST, closed=True)
    assert sorted((one["id"], one["alert"], one["severity"], one["id"] in still_open) for one in listed) == stored


def test_baselines_are_recalled_without_the_history(state: Path) -> None:
    for path in sorted((DATA / "controller" / "memory" / HOST).glob("*.json")):
        held = json.loads(path.read_text(encoding="utf-8"))
        assert access.recall(state, None, HOST, path.stem) == held["memory"]
    copied = access.recall(state, None, HOST, "daily")
    shutil.rmtree(state / "memory")
    assert access.recall(state, None, HOST, "daily") == copied


def test_lease_is_held_until_it_ends() -> None:
    content = (DATA / "host" / "state" / "lease.json").read_bytes()
    written = json.loads(content)
    held = model.judge(content, model.Moment(0.0, written["boot_s"] + 10, written["boot_id"]))
    assert (held.state, held.remaining_s) == (model.HELD, written["ttl_s"] - 10)
    assert model.judge(content, model.Moment(0.0, written["boot_s"] + 121, written["boot_id"])).state == model.EXPIRED
    assert model.judge(content, model.Moment(0.0, written["boot_s"], "another")).state == model.RESTARTED


def test_backups_are_listed_by_their_manifests(tmp_path: Path) -> None:
    for kind, folder in (("database", "db"), ("code", "code")):
        (manifest,) = (DATA / "host" / "backups" / folder).glob("*.json")
        directory = tmp_path / folder
        directory.mkdir()
        shutil.copy(manifest, directory)
        read = backups.read_manifest(str(directory / manifest.name), kind)
        assert read is not None
        assert (read["id"], bool(read["verified"])) == (manifest.stem, True)
        (directory / (manifest.stem + backups.SUFFIXES[kind])).write_bytes(b"")
        assert [one["id"] for one in backups.list_backups(str(directory), kind)] == [manifest.stem]


def test_proven_build_is_a_way_back(tmp_path: Path) -> None:
    kept = json.loads((DATA / "host" / "state" / "build" / "state.json").read_text(encoding="utf-8"))
    (tmp_path / "dist").mkdir()
    (tmp_path / "build" / kept["good"]["copy"]).mkdir(parents=True)
    (tmp_path / "build" / kept["good"]["copy"] / "index.js").write_text("before\n")
    kept["dist"] = str(tmp_path / "dist")
    (tmp_path / "build" / "state.json").write_text(json.dumps(kept))
    dist = Dist(str(tmp_path / "dist"), str(tmp_path / "build"))
    with dist.locked():
        back = dist.go_back()
    assert back is not None
    assert [path.name for path in (tmp_path / "dist").iterdir()] == ["index.js"]
