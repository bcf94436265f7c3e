"""What npm, git and the database are asked in the routines, and what happens when they can't tell."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from machine import HOME, USER, Background, Machine, Run, assert_same, in_english

Runner = Callable[..., Run]
Registry = Callable[[str], str]
Results = dict[str, dict[str, Any]]
PLACE = f"{HOME}/checks"
PROJECT = f"{PLACE}/project"
SCHEMA = "checks of optimise"
FILES = f"/var/lib/mysql/{SCHEMA.replace(' ', '@0020')}"
REGISTERED = {
    "outdated": "app_outdated_result",
    "audit": "app_audit_result",
    "git": "app_git_result",
    "optimize": "mysql_optimize_result",
}


class Checks:
    """Calls entry points of roles, several in one run, and brings back what each of them registered."""

    def __init__(self, run_clean: Runner, state: Path) -> None:
        self._run_clean = run_clean
        self._state = state
        self.last: Run | None = None

    def __call__(self, entry: str, cases: Mapping[str, Mapping[str, Any]], *args: str) -> Results:
        return self.several([(entry, name, variables) for name, variables in cases.items()], *args)

    def several(self, calls: list[tuple[str, str, Mapping[str, Any]]], *args: str) -> Results:
        tasks: list[dict[str, Any]] = []
        for number, (entry, name, variables) in enumerate(calls):
            role = "mysql" if entry == "optimize" else "app"
            call = {"name": role, "tasks_from": entry}
            keep = {
                "content": "{{ " + REGISTERED[entry] + " | to_json }}",
                "dest": str(self._state / f"result-{number}.json"),
                "mode": "0600",
            }
            tasks += [
                {"name": f"Call {name}", "ansible.builtin.import_role": call, "vars": dict(variables)},
                {
                    "name": "Keep what it registered",
                    "ansible.builtin.copy": keep,
                    "delegate_to": "localhost",
                    "check_mode": False,
                    "changed_when": False,
                },
            ]
        playbook = self._state / "checks.yml"
        play = {"name": "Check", "hosts": "orquestrador", "gather_facts": False, "tasks": tasks}
        playbook.write_text(yaml.safe_dump([play], sort_keys=False))
        self.last = self._run_clean(str(playbook), *args, state=self._state)
        assert self.last.rc == 0, self.last.output
        return {
            name: json.loads((self._state / f"result-{number}.json").read_text())
            for number, (_, name, _) in enumerate(calls)
        }

    def one(self, entry: str, variables: Mapping[str, Any], *args: str) -> dict[str, Any]:
        return self(entry, {entry: variables}, *args)[entry]


@pytest.fixture
def checks(run_clean: Runner, state: Path) -> Checks:
    return Checks(run_clean, state)


def words(result: Mapping[str, Any]) -> str:
    """What a result says, in English."""
    said = result.get("failures") or result.get("note")
    return "; ".join(in_english(one) for one in (said if isinstance(said, list) else [said]))


# --- npm -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(machine: Machine) -> Iterator[str]:
    """A directory of the application's user for what the tests make."""
    machine.sh(f"rm -rf {PLACE}; install -d -o {USER} -g {USER} {PLACE}")
    yield PLACE
    machine.sh(f"rm -rf {PLACE}")


@pytest.fixture
def project(machine: Machine, place: str, registry: Registry) -> str:
    """A project that was installed when it asked for an older package than it does now."""
    manifest = json.dumps({"name": "p", "version": "1.0.0", "dependencies": {"frail": "1.0.0", "sound": "^1.0.0"}})
    wanted = json.dumps({"name": "p", "version": "1.0.0", "dependencies": {"frail": "^1.0.0", "sound": "^1.0.0"}})
    install = f"npm_config_cache={PLACE}/cache npm install --no-audit --silent --registry={registry('clean')}"
    script = (
        f"rm -rf {PROJECT}; mkdir -p {PROJECT}/reports; cd {PROJECT}; cat > package.json; {install}; "
        f"echo '{wanted}' > package.json; {install}"
    )
    machine.sh(script, user=USER, stdin=manifest)
    assert version_of(machine) == "1.0.0"
    return PROJECT


def version_of(machine: Machine, package: str = "frail") -> str:
    return machine.out(f"jq -r .version {PROJECT}/node_modules/{package}/package.json")


def sums(machine: Machine) -> list[str]:
    """The project's two files and their modes."""
    return machine.out(f"cd {PROJECT}; sha256sum package*.json; stat -c '%n %a %U' package*.json").splitlines()


def test_outdated_packages_are_a_fact_that_is_kept(
    machine: Machine, checks: Checks, project: str, registry: Registry
) -> None:
    variables = {"app_dir": project, "app_npm_registry": registry("clean")}
    told = checks.one("outdated", variables)
    assert told.get("status") is None, told
    assert told["changed"]
    (package,) = told["evidence"]["packages"]
    assert (package["name"], package["current"], package["wanted"], package["latest"]) == (
        "frail",
        "1.0.0",
        "1.0.1",
        "2.0.0",
    )
    assert (package["kind"], package["type"]) == ("major", "dependencies")
    today = machine.out("date +%Y%m%d")
    kept = f"{project}/reports/npm-outdated-{today}.txt"
    assert machine.out(f"stat -c '%a %U' {kept}") == f"640 {USER}"
    assert machine.out(f"cat {kept}").split()[-5:] == ["frail", "1.0.0", "1.0.1", "2.0.0", "dependencies"]
    assert machine.out(f"ls -A {project}/reports") == f"npm-outdated-{today}.txt"
    assert not checks.one("outdated", variables)["changed"]


def test_npm_that_could_not_look_is_unknown_and_never_up_to_date(
    machine: Machine, checks: Checks, project: str, registry: Registry
) -> None:
    machine.sh(f"mkdir -p {PLACE}/bare {PLACE}/empty; cp {project}/package.json {PLACE}/bare/", user=USER)
    cases = {
        "no npm": ({"app_npm_command": "npm-is-not-here"}, "npm-is-not-here is not there"),
        "no network": ({"app_npm_registry": "http://127.0.0.1:9/"}, "ECONNREFUSED"),
        "nothing told": ({"app_npm_registry": registry("gone")}, "gives nothing about 2 packages: frail, sound"),
        "no node_modules": ({"app_dir": f"{PLACE}/bare"}, "no node_modules"),
        "no project": ({"app_dir": f"{PLACE}/empty"}, "package.json does not exist"),
    }
    base = {"app_dir": project, "app_npm_registry": registry("clean")}
    results = checks("outdated", {name: {**base, **case[0]} for name, case in cases.items()})
    for name, (_, text) in cases.items():
        assert results[name]["status"] == "unknown", name
        assert text in words(results[name])


def test_an_audit_tells_what_was_found_and_what_could_not_be_asked(
    machine: Machine, checks: Checks, project: str, registry: Registry
) -> None:
    machine.sh(f"rm -rf {PLACE}/lockless; cp -a {project} {PLACE}/lockless; rm {PLACE}/lockless/package-lock.json")
    cases: dict[str, tuple[dict[str, Any], str, str]] = {
        "critical": ({}, "failed", "1 critical, 0 high"),
        "tolerated": ({"app_audit_fail_level": "none"}, "warn", "1 critical"),
        "low": ({"app_npm_registry": registry("low")}, "ok", "0 moderate, 1 low"),
        "clean": ({"app_npm_registry": registry("clean")}, "ok", "No known vulnerability"),
        "refused": ({"app_npm_registry": registry("refused")}, "unknown", "405"),
        "no network": ({"app_npm_registry": "http://127.0.0.1:9/"}, "unknown", "ECONNREFUSED"),
        "no lock file": ({"app_dir": f"{PLACE}/lockless"}, "unknown", "ENOLOCK"),
        "no npm": ({"app_npm_command": "/nowhere/npm"}, "unknown", "/nowhere/npm is not there"),
    }
    base = {"app_dir": project, "app_npm_registry": registry("critical")}
    before = sums(machine)
    results = checks("audit", {name: {**base, **case[0]} for name, case in cases.items()})
    for name, (_, status, text) in cases.items():
        assert (results[name]["status"], results[name]["changed"]) == (status, False), name
        assert text in words(results[name]), name
    (package,) = results["critical"]["evidence"]["packages"]
    assert (package["name"], package["fix"], package["titles"]) == ("frail", "yes", ["frail breaks"])
    assert sums(machine) == before


def test_an_approved_repair_saves_the_files_first(
    machine: Machine, checks: Checks, project: str, registry: Registry
) -> None:
    before = machine.out(f"sha256sum < {project}/package-lock.json").split()[0]
    variables = {"app_dir": project, "app_npm_registry": registry("critical"), "approve_audit_fix": True}
    done = checks.one("audit", variables)
    assert done.get("status") is None, done
    assert done["changed"]
    assert version_of(machine) == "1.0.1"
    assert machine.out(f"jq -r '.packages[\"node_modules/frail\"].version' {project}/package-lock.json") == "1.0.1"
    assert done["evidence"]["fixed"] == [{"name": "frail", "before": "1.0.0", "after": "1.0.1"}]
    assert (done["evidence"]["before"]["critical"], done["evidence"]["after"]["critical"]) == (1, 0)
    (copy,) = [path for path in done["evidence"]["saved"] if "/package-lock.json/" in path]
    assert machine.out(f"sha256sum < {copy}").split()[0] == before
    assert machine.out("ls /tmp | grep -c ^orquestrador-npm- || true") == "0"
    again = checks.one("audit", variables)
    assert (again["changed"], again["status"]) == (False, "ok")


@pytest.mark.parametrize(("mode", "reason", "limit_s"), [("torn", "500", 60), ("stuck", "did not end within", 4)])
def test_a_repair_that_fails_puts_the_files_back(
    machine: Machine, checks: Checks, project: str, registry: Registry, mode: str, reason: str, limit_s: int
) -> None:
    modules = f"cd {project}/node_modules; find . -type f -print0 | sort -z | xargs -0 sha256sum"
    before, tree = sums(machine), machine.out(modules)
    variables = {"app_dir": project, "app_npm_registry": registry(mode), "approve_audit_fix": True}
    failed = checks.one("audit", {**variables, "app_audit_fix_timeout_s": limit_s})
    assert failed["failed"], failed
    assert reason in words(failed)
    assert "node_modules are as they were" in words(failed)
    assert sums(machine) == before
    assert machine.out(modules) == tree
    left = machine.out(f"ls -A {project}").split()
    assert left == ["backups", "node_modules", "package-lock.json", "package.json", "reports"]
    assert machine.sh(f"pgrep -u {USER} -f 'npm audit'", check=False).stdout == ""


# --- git -----------------------------------------------------------------------------------------------------------

REPOSITORIES = f"""
rm -rf {PLACE}/git; mkdir -p {PLACE}/git; cd {PLACE}/git
export GIT_CONFIG_GLOBAL=$PWD/config
git config --global user.name T; git config --global user.email t@example.org
git config --global init.defaultBranch main
git init -q --bare remote.git
git clone -q remote.git clean 2>/dev/null
cd clean; for n in 1 2 3 4 5 6; do echo $n > file; git add file; git commit -qm "change $n"; done
git push -q origin main
cd ..; git clone -q remote.git dirty; git clone -q remote.git detached; git clone -q remote.git alone
cp -a clean foreign
cd dirty; echo x > file; echo y > 'new ü file'; echo z > staged; git add staged; git commit -qm 'not pushed' staged
git mv staged moved
cat > ../monitor <<'EOF'
#!/bin/sh
touch {PLACE}/git/monitor-ran
EOF
chmod 755 ../monitor; git config core.fsmonitor ../monitor
cd ../detached; git checkout -q HEAD~1
cd ../alone; git checkout -q -b lonely; echo 7 > file; git commit -qam 'nowhere else'
mkdir ../plain
"""


def test_a_repository_is_compared_and_not_touched(machine: Machine, checks: Checks, place: str) -> None:
    machine.sh(REPOSITORIES, user=USER)
    machine.sh(f"chown -R root: {PLACE}/git/foreign")
    before = machine.out(f"find {PLACE}/git -printf '%p %s %T@ %A@\\n' | grep -v /objects/ | sed 's/ [^ ]*$//' | sort")
    expected = {
        "clean": ("ok", "Everything is committed and pushed"),
        "dirty": (
            "warn",
            "2 files with changes that are not committed; 1 files or directories that git does not know; "
            "1 commits that were not pushed",
        ),
        "detached": ("warn", "detached HEAD at"),
        "alone": ("warn", "1 commits that were not pushed; The branch lonely has no upstream"),
        "plain": ("warn", "is not a git repository"),
        "foreign": ("unknown", "belongs to root"),
    }
    cases: dict[str, dict[str, Any]] = {name: {"app_dir": f"{PLACE}/git/{name}"} for name in expected}
    cases["no git"] = {"app_dir": f"{PLACE}/git/clean", "app_git_command": "git-is-not-here"}
    expected["no git"] = ("unknown", "git-is-not-here can't be run")
    results = checks("git", cases)
    for name, (status, text) in expected.items():
        assert results[name]["status"] == status, name
        assert text in words(results[name]), name
        assert not results[name]["changed"]
    told = results["clean"]["evidence"]["commits"]
    assert [commit["subject"] for commit in told] == [f"change {n}" for n in (6, 5, 4, 3, 2)]
    assert told[0]["hash"] == machine.out(f"git -C {PLACE}/git/clean log -1 --format=%h", user=USER)
    assert results["dirty"]["evidence"]["untracked_paths"] == ["new ü file"]
    after = machine.out(f"find {PLACE}/git -printf '%p %s %T@ %A@\\n' | grep -v /objects/ | sed 's/ [^ ]*$//' | sort")
    assert_same(before.splitlines(), after.splitlines())
    assert "monitor-ran" not in after


# --- the database --------------------------------------------------------------------------------------------------

FRAGMENTED = "a `worn table"
NUMBERS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i FROM n"


def filled(name: str, rows: int) -> str:
    """Statements for a table of ``rows`` times 16 kB."""
    return (
        f"CREATE TABLE `{name}` (id INT PRIMARY KEY AUTO_INCREMENT, body MEDIUMTEXT);"
        f"INSERT INTO `{name}` (body) SELECT REPEAT(HEX(i), 8000) FROM ({NUMBERS}) AS numbers LIMIT {rows};"
    )


def size_of(machine: Machine, schema_dir: str, name: str) -> int:
    return int(machine.out(f"stat -c %s '{schema_dir}/{name}.ibd'"))


@pytest.fixture(scope="module")
def tables(machine: Machine) -> Iterator[dict[str, Any]]:
    """A schema of the test's own: a worn table, a solid one, a view. What the role is told of them."""
    worn = FRAGMENTED.replace("`", "``")
    machine.sql(
        f"DROP DATABASE IF EXISTS `{SCHEMA}`; CREATE DATABASE `{SCHEMA}`; USE `{SCHEMA}`;"
        f"{filled(worn, 900)} {filled('solid', 50)} CREATE VIEW seen AS SELECT id FROM solid;"
        f"DELETE FROM `{worn}` WHERE id > 60; SET GLOBAL innodb_max_purge_lag_delay = 0;"
    )
    quiet = f"SELECT DATA_FREE FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{SCHEMA}' AND DATA_FREE > 6000000"
    stats = "" if machine.database == "mariadb" else "SET SESSION information_schema_stats_expiry = 0;"
    machine.wait("the deleted rows to be purged", lambda: machine.sql(stats + quiet), 40)
    yield {"mysql_database": SCHEMA, "mysql_optimize_min_free_bytes": 4194304, "mysql_optimize_lock_wait_s": 2}
    machine.sql(f"DROP DATABASE `{SCHEMA}`")


def states(result: Mapping[str, Any]) -> dict[str, str]:
    return {table["table"]: table["state"] for table in result["evidence"]["tables"]}


def worn_file(machine: Machine) -> int:
    return size_of(machine, FILES, "a@0020@0060worn@0020table")


def test_check_mode_changes_nothing(
    machine: Machine, checks: Checks, project: str, registry: Registry, tables: dict[str, Any]
) -> None:
    before, size = machine.fingerprint(), worn_file(machine)
    results = checks.several(
        [
            ("outdated", "outdated", {"app_dir": project, "app_npm_registry": registry("clean")}),
            (
                "audit",
                "audit",
                {"app_dir": project, "app_npm_registry": registry("critical"), "approve_audit_fix": True},
            ),
            ("git", "git", {}),
            ("optimize", "optimize", {**tables, "mysql_optimize_tables": [FRAGMENTED]}),
        ],
        "--check",
    )
    assert_same(before, machine.fingerprint())
    assert worn_file(machine) == size
    assert results["outdated"]["changed"]
    assert "npm audit fix would be run" in words(results["audit"])
    assert "1 tables would be optimised" in words(results["optimize"])


def test_a_table_that_is_held_is_given_up_while_others_go_on(
    machine: Machine, checks: Checks, tables: dict[str, Any]
) -> None:
    worn = FRAGMENTED.replace("`", "``")
    before = worn_file(machine)
    hold = f"USE `{SCHEMA}`; BEGIN; SELECT COUNT(*) FROM `{worn}`; SELECT SLEEP(30), 'held';"
    holder = threading.Thread(target=lambda: machine.sh(f"{client(machine)} -f", stdin=hold, check=False, timeout=40))
    holder.start()
    try:
        machine.wait("the transaction", lambda: held(machine))
        once = {**tables, "mysql_optimize_tables": [FRAGMENTED]}
        longer = {**once, "mysql_optimize_lock_wait_s": 60, "mysql_optimize_timeout_s": 3}
        run = Background(lambda: checks("optimize", {"once": once, "longer": longer}))
        waits = []
        while run._thread.is_alive():
            began = time.monotonic()
            machine.sql(f"SELECT COUNT(*) FROM `{SCHEMA}`.`{worn}`")
            waits.append(time.monotonic() - began)
            time.sleep(0.1)
        results: Any = run.result()
    finally:
        for number in held(machine):
            machine.sql(f"KILL {number}")
        holder.join(45)
    for name, state, text in (
        ("once", "locked", "a transaction held it"),
        ("longer", "timed_out", "it did not finish within 3"),
    ):
        assert results[name]["status"] == "failed"
        assert states(results[name]) == {FRAGMENTED: state}
        assert f"{FRAGMENTED} was not optimised: {text}" in words(results[name])
    assert max(waits) < 6, "the application waited behind the rebuild for longer than it may"
    assert worn_file(machine) == before


def client(machine: Machine) -> str:
    return "mysql" if machine.database == "mysql" else "mariadb"


def held(machine: Machine) -> list[str]:
    rows = machine.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE '%''held''' AND COMMAND='Query'")
    own = machine.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep'")
    return [row for row in rows if row in own]


def test_only_what_pays_is_rebuilt_and_what_is_not_there_is_told(
    machine: Machine, checks: Checks, tables: dict[str, Any]
) -> None:
    before = worn_file(machine)
    solid = machine.out(f"stat -c '%i %s' '{FILES}/solid.ibd'")
    variables = {**tables, "mysql_optimize_tables": [FRAGMENTED, "solid", "seen", "missing", "SOLID"]}
    result = checks.one("optimize", variables)
    assert result["status"] == "warn"
    assert result["changed"]
    assert states(result) == {
        FRAGMENTED: "optimized",
        "solid": "not_needed",
        "seen": "view",
        "missing": "missing",
        "SOLID": "missing",
    }
    for text in ("There is no table missing", "seen is a view", "There is no table SOLID, but solid"):
        assert text in words(result)
    after = worn_file(machine)
    assert after < before / 2
    assert result["evidence"]["tables"][0]["after_bytes"] == after
    assert result["evidence"]["reclaimed_bytes"] == before - after
    assert machine.out(f"stat -c '%i %s' '{FILES}/solid.ibd'") == solid
    assert machine.sql(f"SELECT COUNT(*) FROM `{SCHEMA}`.`{FRAGMENTED.replace('`', '``')}`") == ["60"]
    again = checks.one("optimize", {**tables, "mysql_optimize_tables": [FRAGMENTED, "solid"]})
    assert (again["changed"], again.get("status")) == (False, None)
    # To the letter: whatever it would gain.
    both = checks.one("optimize", {**tables, "mysql_optimize_tables": ["solid"], "optimize_all": True})
    assert states(both) == {"solid": "optimized"}
    assert machine.out(f"stat -c '%i' '{FILES}/solid.ibd'") != solid.split()[0]


def test_a_rebuild_that_does_not_fit_is_refused(machine: Machine, checks: Checks, tables: dict[str, Any]) -> None:
    small = "/var/lib/mysql/checks_small"
    machine.sql("DROP DATABASE IF EXISTS checks_small; CREATE DATABASE checks_small")
    machine.sh(f"mount -t tmpfs -o size=24m,mode=750,uid=$(id -u mysql),gid=$(id -g mysql) none {small}")
    try:
        machine.sql(f"USE checks_small; {filled('wide', 300)}")
        inode = machine.out(f"stat -c '%i' {small}/wide.ibd")
        variables = {"mysql_database": "checks_small", "mysql_optimize_tables": ["wide"], "optimize_all": True}
        result = checks.one("optimize", {**tables, **variables})
        assert result["failed"]
        assert states(result) == {"wide": "no_room"}
        assert "wide was not optimised: it needs" in words(result)
        assert machine.out(f"stat -c '%i' {small}/wide.ibd") == inode
    finally:
        machine.sql("DROP TABLE IF EXISTS checks_small.wide")
        machine.sh(f"umount {small}")
        machine.sql("DROP DATABASE checks_small")
