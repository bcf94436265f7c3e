"""npm's answers: facts, failures that look like facts, and nothing in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.app import npm, npm_audit
from orquestrador.core.messages import plain

COUNTS = {"info": 0, "low": 0, "moderate": 0, "high": 0, "critical": 0}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["error", "metadata"]), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"error": {"code": "ENOLOCK", "summary": "no lock"}}, "ENOLOCK: no lock"),
        ({"error": {"code": "E1", "summary": "E1 again"}}, "E1 again"),
        ({"message": "405 Not Allowed", "error": {"summary": "", "detail": ""}}, "405 Not Allowed"),
        ({"error": {}}, "no reason given"),
        ({"error": "words"}, "words"),
        ({"error": {"code": "x", "summary": "http://u:secretword@h/"}}, "x: http://u:***@h/"),
        ({"error": {"wanted": "1.0.0", "latest": "2.0.0"}}, None),  # a package of that name
        ({}, None),
        ([], None),
    ],
)
def test_an_answer_that_is_an_error_is_told_from_a_package(data: Any, reason: str | None) -> None:
    assert npm.error_of(data) == reason


@pytest.mark.parametrize(
    ("current", "latest", "kind"),
    [
        ("1.2.3", "2.0.0", "major"),
        ("1.2.3", "1.3.0", "minor"),
        ("1.2.3", "1.2.4", "patch"),
        ("1.2.3-rc.1", "1.2.3", "other"),
        (None, "1.2.3", "other"),
        ("git", "exotic", "other"),
        ("1.2.3", None, "other"),
    ],
)
def test_how_far_behind_a_version_is(current: str | None, latest: str | None, kind: str) -> None:
    assert npm.kind_of(current, latest) == kind


def test_packages_are_listed_with_their_place_in_the_project() -> None:
    data = {
        "b": {"current": "1.0.0", "wanted": "1.0.1", "latest": "2.0.0"},
        "a": [{"wanted": "1.0.0", "latest": "1.0.0"}, {"current": "0.9.0", "wanted": "0.9.0", "latest": "1.0.0"}],
    }
    found = npm.parse_outdated(data, {"devDependencies": {"b": "^1"}, "dependencies": []})
    assert [(one["name"], one["current"], one["type"]) for one in found] == [
        ("a", "0.9.0", None),
        ("a", None, None),
        ("b", "1.0.0", "devDependencies"),
    ]
    lines = npm.table(found).splitlines()
    assert lines[0].split() == ["Package", "Current", "Wanted", "Latest", "Type"]
    assert lines[2].split() == ["a", "MISSING", "1.0.0", "1.0.0", "-"]


@given(JSON)
def test_any_other_answer_is_no_list_of_packages(data: Any) -> None:
    try:
        found = npm.parse_outdated(data, {})
    except ValueError:
        return
    assert isinstance(data, dict)
    assert len(found) >= len([value for value in data.values() if isinstance(value, dict)])


def test_what_the_registry_withholds_is_read_from_the_log() -> None:
    log = (
        "npm http fetch GET 404 http://127.0.0.1:4873/gone/@scope%2fprivate 5ms\n"
        "npm http fetch GET 403 http://127.0.0.1:4873/closed 5ms (cache skip)\n"
        "npm http fetch GET 200 http://127.0.0.1:4873/open 5ms (cache miss)\nnpm error nothing\n"
    )
    assert npm.withheld(log) == ["@scope/private", "closed"]
    assert npm.given(log) == {"open"}


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        None,
        {"metadata": {}},
        {"metadata": {"vulnerabilities": {}}},
        {"metadata": {"vulnerabilities": {**COUNTS, "high": "0"}}},
        {"metadata": {"vulnerabilities": {**COUNTS, "high": True}}},
        {"metadata": {"vulnerabilities": {**COUNTS, "high": -1}}},
        {"metadata": {"vulnerabilities": COUNTS}, "vulnerabilities": {"a": {"severity": "high"}}},
    ],
)
def test_an_audit_without_complete_counts_is_not_a_clean_one(data: Any) -> None:
    with pytest.raises(ValueError):
        npm_audit.parse_audit(data)


@given(JSON)
def test_nothing_but_an_audit_is_an_audit(data: Any) -> None:
    with pytest.raises(ValueError):
        npm_audit.parse_audit(data)


def test_an_audit_lists_the_worst_first_and_says_what_can_be_repaired() -> None:
    def one(severity: str, fix: Any) -> dict[str, Any]:
        return {"severity": severity, "isDirect": True, "via": ["x", {"title": "t"}], "fixAvailable": fix}

    data = {
        "metadata": {"vulnerabilities": {**COUNTS, "low": 1, "critical": 1, "high": 1}},
        "vulnerabilities": {"a": one("low", False), "c": one("critical", {"isSemVerMajor": True}), "b": one("high", 1)},
    }
    found = npm_audit.parse_audit(data)
    assert [(one["name"], one["fix"]) for one in found.packages] == [("c", "breaking"), ("b", "yes"), ("a", "no")]
    assert found.packages[0]["titles"] == ["t"]
    old = {
        "metadata": {"vulnerabilities": {**COUNTS, "high": 1}},
        "advisories": {"1": {"module_name": "m", "severity": "high", "title": "t"}},
    }
    assert npm_audit.parse_audit(old).packages[0]["name"] == "m"


@pytest.mark.parametrize(
    ("found", "level", "status"),
    [
        ({}, "critical", "ok"),
        ({"moderate": 9}, "critical", "ok"),
        ({"high": 1}, "critical", "warn"),
        ({"critical": 1}, "critical", "failed"),
        ({"critical": 1}, "none", "warn"),
        ({"low": 1}, "low", "failed"),
        ({"info": 1}, "low", "ok"),
        ({"info": 1}, "info", "failed"),
    ],
)
def test_severity_gives_the_status(found: dict[str, int], level: str, status: str) -> None:
    assert npm_audit.status_of({**COUNTS, **found}, level) == status


# --- a stand-in for the command, where the real npm's behaviour is not what is tested --------------------------------


def fake(tmp_path: Path, script: str) -> str:
    command = tmp_path / "npm"
    command.write_text("#!/bin/sh\n" + script)
    command.chmod(0o755)
    return str(command)


def project(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    (place / "node_modules" / "a").mkdir(parents=True)
    (place / "node_modules" / "@s" / "b" / "node_modules" / "c").mkdir(parents=True)
    for name, version in (("a", "1.0.0"), ("@s/b", "2.0.0"), ("@s/b/node_modules/c", "3.0.0")):
        (place / "node_modules" / name / "package.json").write_text(json.dumps({"version": version}))
    (place / "node_modules" / ".package-lock.json").write_text("hidden")
    (place / "package.json").write_text('{"dependencies": {"a": "^1.0.0"}}')
    (place / "package-lock.json").write_text("lock")
    (place / "package-lock.json").chmod(0o644)
    return place


def asked(tmp_path: Path, script: str, timeout_s: float = 20) -> npm.Npm:
    return npm.Npm(str(project(tmp_path)), command=fake(tmp_path, script), registry="", timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo; exit 0", "npm outdated could not be done: status 0, no answer"),
        ("echo '{'; echo 'npm error code X' >&2; echo 'npm error because' >&2; exit 1", "because"),
        ("echo '[]'", "can't be understood: no object"),
        ("echo '{}'; exit 7", "status 7"),
        ("echo '{\"a\": 1}'", "can't be understood: a"),
        ("exec sleep 30", "did not end within 1.0"),
    ],
)
def test_what_npm_can_not_tell_is_a_failure(tmp_path: Path, script: str, text: str) -> None:
    with asked(tmp_path, script, timeout_s=1.0) as one, pytest.raises(npm.NpmError) as raised:
        npm.outdated(one, str(tmp_path), check_mode=False)
    assert text in plain(raised.value.message)
    assert list(tmp_path.glob("*.txt")) == []


def test_npm_gets_a_cache_of_its_own_which_is_gone_afterwards(tmp_path: Path) -> None:
    with asked(tmp_path, f'echo "$npm_config_cache" > {tmp_path}/cache; pwd > {tmp_path}/where; echo "{{}}"') as one:
        result = npm.outdated(one, str(tmp_path), check_mode=True, now=0)
        cache = Path((tmp_path / "cache").read_text().strip())
        assert cache.is_dir()
    assert not cache.exists()
    assert (tmp_path / "where").read_text().strip() == str(tmp_path / "project")
    assert result["changed"]
    assert list(tmp_path.glob("*.txt")) == [], "written in check mode"


def test_a_list_that_can_not_be_kept_is_told(tmp_path: Path) -> None:
    with asked(tmp_path, "echo '{}'") as one:
        result = npm.outdated(one, str(tmp_path / "nowhere"), check_mode=False)
    assert result["status"] == "warn"
    assert "could not be written: No such file or directory" in plain(result["note"][-1])


FINDING = json.dumps({"metadata": {"vulnerabilities": {**COUNTS, "high": 1}}})
CLEAN = json.dumps({"metadata": {"vulnerabilities": COUNTS}})
# The audit finds something until the repair has been there.
REPAIR = """
if [ "$2" = fix ]; then %s; fi
if [ -e repaired ]; then echo '%s'; else echo '%s'; fi
"""


def repaired(one: npm.Npm, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"fail_level": "critical", "fix": True, "check_mode": False, "fix_timeout_s": 5.0}
    with one:
        return npm_audit.audit(one, saved_dir=str(tmp_path / "saved"), **{**options, **changes})


def test_a_repair_is_made_when_approved_and_audited_again(tmp_path: Path) -> None:
    fix = "touch repaired; echo changed > package-lock.json; echo '{}'; exit 1"
    script = REPAIR % (fix, CLEAN, FINDING)
    told = repaired(asked(tmp_path, script), tmp_path, fix=False)
    assert (told["status"], told["changed"]) == ("warn", False)
    one = npm.Npm(str(tmp_path / "project"), command=str(tmp_path / "npm"), registry="", timeout_s=20)
    would = repaired(one, tmp_path, check_mode=True)
    assert would["changed"]
    assert not (tmp_path / "saved").exists()
    done = repaired(one, tmp_path)
    assert "status" not in done
    assert done["changed"]
    assert (done["evidence"]["before"]["high"], done["evidence"]["after"]["high"]) == (1, 0)
    (copy,) = [Path(path) for path in done["evidence"]["saved"] if "package-lock" in path]
    assert copy.read_text() == "lock"
    assert sorted(path.name for path in (tmp_path / "project").iterdir()) == [
        "node_modules",
        "package-lock.json",
        "package.json",
        "repaired",
    ]


@pytest.mark.parametrize("ending", ["exit 1", 'echo \'{"error": {"summary": "torn"}}\'; exit 1', "exec sleep 30"])
def test_a_repair_that_fails_leaves_everything_as_it_was(tmp_path: Path, ending: str) -> None:
    damage = "rm -r node_modules/a; echo x > package-lock.json; echo y > node_modules/.package-lock.json; " + ending
    one = asked(tmp_path, REPAIR % (damage, CLEAN, FINDING))
    before = npm.installed(one.directory)
    assert before == {"a": "1.0.0", "@s/b": "2.0.0", "@s/b/node_modules/c": "3.0.0"}
    with pytest.raises(npm_audit.FixError) as raised:
        repaired(one, tmp_path, fix_timeout_s=1.0)
    assert "as they were" in plain(raised.value.failures[-1])
    assert not raised.value.changed
    assert npm.installed(one.directory) == before
    place = Path(one.directory)
    assert (place / "package-lock.json").read_text() == "lock"
    assert (place / "package-lock.json").stat().st_mode & 0o777 == 0o644
    assert (place / "node_modules" / ".package-lock.json").read_text() == "hidden"
    assert sorted(path.name for path in place.iterdir()) == ["node_modules", "package-lock.json", "package.json"]


def test_what_a_killed_repair_left_is_not_written_over(tmp_path: Path) -> None:
    one = asked(tmp_path, REPAIR % ("echo '{}'", CLEAN, FINDING))
    left = Path(one.directory + "/node_modules.before-audit-fix")
    left.mkdir()
    with pytest.raises(npm.NpmError) as raised:
        repaired(one, tmp_path)
    assert "left from a repair that was killed" in plain(raised.value.message)
    assert left.exists()


@pytest.mark.parametrize(
    ("manifest", "modules", "expected"),
    [
        ({"devDependencies": {"x": "1"}}, {"a": "1"}, ["--omit=dev"]),
        ({"devDependencies": {"x": "1"}}, {"x": "1"}, []),
        ({}, {}, []),
    ],
)
def test_a_repair_installs_nothing_that_was_left_out(
    manifest: dict[str, Any], modules: dict[str, str], expected: list[str]
) -> None:
    assert npm_audit._omitted(manifest, modules) == expected
