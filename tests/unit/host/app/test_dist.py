"""The way back to what the application ran from: exact, and the same wherever a run is killed."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from orquestrador.app import dist as app_dist
from orquestrador.app.dist import DeployError, Dist, digest


@pytest.fixture
def dist(tmp_path: Path) -> Dist:
    folder = tmp_path / "app" / "dist"
    (folder / "public").mkdir(parents=True)
    (folder / "index.js").write_text("old")
    (folder / "public" / "page.html").write_text("<p>")
    (folder / "public" / "page.html").chmod(0o640)
    (folder / "latest").symlink_to("index.js")
    (folder / "empty").mkdir(mode=0o700)
    return Dist(str(folder), str(tmp_path / "state"))


def again(dist: Dist) -> Dist:
    """As the next run finds it."""
    return Dist(dist.path, dist.state_dir)


def copies(dist: Dist) -> list[str]:
    return [path.name for path in Path(dist.state_dir).glob(f"{app_dist.COPY}*")]


def overwrite(dist: Dist) -> None:
    (Path(dist.path) / "index.js").write_text("new")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "in place": lambda path: (path / "index.js").write_text("new"),
    "added": lambda path: (path / "more").write_text("x"),
    "removed": lambda path: (path / "public" / "page.html").unlink(),
    "mode": lambda path: (path / "public" / "page.html").chmod(0o777),
    "link": lambda path: ((path / "latest").unlink(), (path / "latest").symlink_to("public")),
    "gone": shutil.rmtree,
    "another": lambda path: (shutil.rmtree(path), path.mkdir(), (path / "x").write_text("x")),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("one_file_system", [True, False])
def test_a_build_that_fails_is_undone_exactly(
    dist: Dist, damage: str, one_file_system: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest(dist.path)
    if not one_file_system:
        real = os.stat
        other = {dist.state_dir}

        def elsewhere(path: str, **options: bool) -> os.stat_result:
            found = real(path, **options)
            if path in other:
                return os.stat_result((*found[:2], found.st_dev + 1, *found[3:10]))
            return found

        monkeypatch.setattr(app_dist.os, "stat", elsewhere)
    with dist.locked():
        dist.begin()
        DAMAGES[damage](Path(dist.path))
        assert digest(dist.path) != before
        assert dist.give_up() is True
    assert digest(dist.path) == before
    assert stat.S_IMODE(os.lstat(f"{dist.path}/public/page.html").st_mode) == 0o640
    assert copies(dist) == []
    assert [path.name for path in Path(dist.path).parent.iterdir()] == ["dist"]
    assert not again(dist).way_back()


def test_a_build_that_was_killed_is_repaired_by_the_next_run(dist: Dist) -> None:
    before = digest(dist.path)
    dist.state_dir = str(Path(dist.state_dir))
    with dist.locked():
        dist.begin()
    shutil.rmtree(dist.path)
    found = again(dist)
    assert found.interrupted()
    with found.locked():
        assert found.repair() is True
        assert found.repair() is False
    assert digest(dist.path) == before
    assert copies(dist) == []


def test_a_build_where_there_was_nothing_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    dist = Dist(str(tmp_path / "dist"), str(tmp_path / "state"))
    with dist.locked():
        dist.begin()
        (tmp_path / "dist").mkdir()
        dist.give_up()
    assert not (tmp_path / "dist").exists()


def test_the_way_back_leads_to_what_was_proven_last_however_often_is_built(dist: Dist) -> None:
    before = digest(dist.path)
    with dist.locked():
        for content in ("one", "two"):
            dist.begin()
            (Path(dist.path) / "index.js").write_text(content)
            dist.built()
        dist.begin()
        dist.give_up()
        assert (Path(dist.path) / "index.js").read_text() == "two"
        assert again(dist).way_back()
        assert len(copies(dist)) == 1
        assert dist.roll_back() is True
    assert digest(dist.path) == before
    assert copies(dist) == []
    assert not again(dist).way_back()


def test_a_proven_build_needs_no_way_back(dist: Dist) -> None:
    with dist.locked():
        dist.begin()
        overwrite(dist)
        dist.built()
        dist.proven()
        assert dist.roll_back() is False
    assert (Path(dist.path) / "index.js").read_text() == "new"


@pytest.mark.parametrize("changes", [False, True])
def test_a_build_of_nothing_new_leaves_no_way_back(dist: Dist, changes: bool) -> None:
    with dist.locked():
        dist.begin()
        if changes:
            overwrite(dist)
            dist.built()
            dist.begin()
            (Path(dist.path) / "index.js").write_text("old")
        dist.built()
    assert not again(dist).way_back()
    assert copies(dist) == []


def test_one_at_a_time(dist: Dist) -> None:
    with dist.locked(), pytest.raises(DeployError, match="another build or reload"), again(dist).locked():
        pass
    with again(dist).locked():
        pass


def test_no_room_is_said_before_anything_is_touched(dist: Dist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_dist, "RESERVE_BYTES", 2**60)
    before = digest(dist.path)
    with dist.locked(), pytest.raises(DeployError, match="kept aside"):
        dist.begin()
    assert digest(dist.path) == before
    assert copies(dist) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        "{}",
        '{"format": 1}',
        '{"format": 1, "dist": "DIST", "building": {"copy": "../x"}}',
        '{"format": 1, "dist": "DIST", "building": {"copy": "dist-gone"}, "pending": 3}',
        '{"format": 1, "dist": "/elsewhere", "building": {"copy": ""}}',
    ],
)
def test_a_state_that_says_nothing_usable_changes_nothing(dist: Dist, text: str) -> None:
    before = digest(dist.path)
    with dist.locked():
        (Path(dist.state_dir) / app_dist.STATE).write_text(text.replace("DIST", dist.path))
        assert dist.repair() is False
        assert dist.roll_back() is False
    assert digest(dist.path) == before


def test_state_is_for_its_owner_and_is_json(dist: Dist) -> None:
    with dist.locked():
        dist.begin()
        held = json.loads((Path(dist.state_dir) / app_dist.STATE).read_text())
    assert held["building"]["digest"] == digest(dist.path)
    assert stat.S_IMODE(Path(dist.state_dir).stat().st_mode) == 0o700


def test_digest_sees_names_kinds_modes_and_contents(tmp_path: Path) -> None:
    assert digest(str(tmp_path / "none")) is None
    seen = set()
    for name, change in DAMAGES.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "public").mkdir()
        (folder / "index.js").write_text("old")
        (folder / "public" / "page.html").write_text("<p>")
        (folder / "latest").symlink_to("index.js")
        seen.add(digest(str(folder)))
        assert len(seen - {None}) >= 1
        if name != "gone":
            change(folder)
            seen.add(digest(str(folder)))
    assert len(seen) == len(DAMAGES)  # one of before, and one each of all but the one that is gone


def proven(dist: Dist) -> None:
    with dist.locked():
        dist.proven()


def test_what_was_proven_last_comes_back_and_stays(dist: Dist) -> None:
    proven(dist)
    good = digest(dist.path)
    for _ in range(2):
        overwrite(dist)
        with again(dist).locked():
            back = again(dist).go_back()
        assert back is not None
        assert back["to"] == "proven"
        assert digest(dist.path) == good
    assert len(copies(dist)) == 1
    assert [path.name for path in Path(dist.path).parent.iterdir()] == ["dist"]


def test_one_good_copy_is_kept_and_only_made_when_it_is_another(dist: Dist, monkeypatch: pytest.MonkeyPatch) -> None:
    proven(dist)
    first = copies(dist)
    with monkeypatch.context() as patched:
        patched.setattr(Dist, "_copy", lambda *_: pytest.fail("copied what is there"))
        proven(again(dist))
    assert copies(dist) == first
    overwrite(dist)
    proven(again(dist))
    assert len(copies(dist)) == 1
    assert copies(dist) != first


def test_nothing_to_go_back_to(dist: Dist) -> None:
    with dist.locked():
        assert dist.go_back() is None
    proven(dist)
    with dist.locked():
        assert dist.go_back() is None, "what is there is what was good"


def test_before_a_build_that_nobody_proved_comes_before_what_was_proven(dist: Dist) -> None:
    proven(dist)
    overwrite(dist)
    before = digest(dist.path)
    with dist.locked():
        dist.begin()
        (Path(dist.path) / "index.js").write_text("broken")
        dist.built()
        back = dist.go_back()
    assert back is not None
    assert back["to"] == "before_build"
    assert digest(dist.path) == before
    with dist.locked():
        back = dist.go_back()
    assert back is not None
    assert back["to"] == "proven"


def test_a_killed_build_is_undone_first(dist: Dist) -> None:
    before = digest(dist.path)
    with dist.locked():
        dist.begin()
    overwrite(dist)
    with again(dist).locked():
        assert again(dist).go_back() is not None
    assert digest(dist.path) == before


def test_without_room_the_former_good_one_stays(dist: Dist, monkeypatch: pytest.MonkeyPatch) -> None:
    proven(dist)
    good = digest(dist.path)
    overwrite(dist)
    monkeypatch.setattr(app_dist, "RESERVE_BYTES", 1 << 62)
    proven(again(dist))
    with dist.locked():
        assert dist.go_back() is not None
    assert digest(dist.path) == good
