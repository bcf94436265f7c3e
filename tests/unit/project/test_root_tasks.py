"""No task writes as root where the application's user may put a link, or runs there what that user may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from jinja2 import ChainableUndefined, Environment

ROOT = Path(__file__).resolve().parents[3]
WRITERS = {
    "assemble",
    "blockinfile",
    "copy",
    "file",
    "get_url",
    "git",
    "lineinfile",
    "replace",
    "tempfile",
    "template",
    "unarchive",
    "whole_file",
    "command",
    "shell",
    "script",
    "raw",
}
# Unknown here: what the task is told by whoever includes it, and what only a run knows.
ANYWHERE = "/home/flavio/anywhere"
# Root looks first, and creates only what is missing where everything above is root's; looks PM2 up without running it.
# The integration tests try both.
PROVEN = {
    ("roles/app/tasks/roots_directory.yml", "command"),
    ("roles/app/tasks/roots_directory.yml", "file"),
    ("roles/pm2/tasks/unit.yml", "command"),
}


class Task(NamedTuple):
    """A task, whoever runs it, and the values of its loop."""

    where: str
    module: str
    body: Mapping[str, Any]
    as_root: bool


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _defaults() -> dict[str, Any]:
    found: dict[str, Any] = {"inventory_hostname": "host", "ansible_host": "host"}
    for path in sorted(ROOT.glob("roles/*/defaults/main.yml")):
        found.update(_load(path) or {})
    return found


DEFAULTS = _defaults()


class _Anywhere(ChainableUndefined):
    """A variable that has no default is taken for a path of the application's user."""

    def __str__(self) -> str:
        return ANYWHERE


def _environment() -> Environment:
    environment = Environment(undefined=_Anywhere)
    environment.filters["dirname"] = lambda path: str(path).rpartition("/")[0]
    for name in ("bool", "regex_escape", "extract", "to_json"):
        environment.filters[name] = lambda value, *_args: value
    return environment


ENVIRONMENT = _environment()


def resolve(text: str, own: Mapping[str, Any]) -> str:
    """A text with the defaults of all roles put in, until nothing is left to put in."""
    for _ in range(10):
        if "{{" not in text and "{%" not in text:
            return text
        try:
            text = ENVIRONMENT.from_string(text).render({**DEFAULTS, **own})
        except Exception:  # noqa: BLE001 - a filter or lookup of Ansible's: unknown here
            return ANYWHERE
    return text


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def tasks_of(where: str, listed: Any, inherited: Mapping[str, Any]) -> Iterator[Task]:
    """All tasks, with what blocks and plays hand down to them. Whoever imports a role may be root."""
    for task in listed or []:
        kept = {**inherited, **{key: task[key] for key in ("become", "become_user") if key in task}}
        inner = [one for part in ("block", "rescue", "always") for one in task.get(part, [])]
        if inner:
            yield from tasks_of(where, inner, kept)
            continue
        user = str(kept.get("become_user", "root"))
        as_root = kept.get("become", True) is not False and user not in ("{{ app_user }}", "flavio")
        for key in task:
            name = key.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
            if name in WRITERS:
                yield Task(where, name, task, as_root)


def all_tasks() -> Iterator[Task]:
    for path in sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/handlers/*.yml")]):
        yield from tasks_of(str(path.relative_to(ROOT)), _load(path), {})
    for path in sorted(ROOT.glob("playbooks/*/*.yml")):
        for play in _load(path):
            for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                yield from tasks_of(str(path.relative_to(ROOT)), play.get(part), play)


def offences(task: Task) -> list[str]:
    """What of the application's user a task names that runs as root; what a file is to hold does not matter."""
    if not task.as_root:
        return []
    said = next(task.body[key] for key in task.body if key.rpartition(".")[2] == task.module)
    if isinstance(said, Mapping):
        said = {key: value for key, value in said.items() if key not in ("content", "owner", "group", "block", "line")}
    items = [resolve(text, {}) for text in texts(task.body.get("loop", task.body.get("with_items", [])))] or [ANYWHERE]
    variable = (task.body.get("loop_control") or {}).get("loop_var", "item")
    named = list(texts([said, task.body.get("environment"), task.body.get("args")]))
    found = [resolve(text, {**(task.body.get("vars") or {}), variable: item}) for text in named for item in items]
    own = [resolve(str(DEFAULTS[name]), {}) for name in ("app_dir", "pm2_home")] + ["/home/", "~"]
    bad = [text for text in found if any(place in text for place in own)]
    # PM2 may lie in its user's home, and works in it wherever it lies.
    bad += [text for text in texts(said) if "pm2_command" in text]
    return bad


def test_no_task_works_as_root_where_the_application_may_put_a_link() -> None:
    found = [
        f"{task.where}: {task.body.get('name')}: {offences(task)}"
        for task in all_tasks()
        if (task.where, task.module) not in PROVEN and offences(task)
    ]
    assert found == []


def test_the_rule_sees_the_tasks() -> None:
    seen = {(task.where, task.module) for task in all_tasks()}
    assert seen >= PROVEN | {("roles/pm2/tasks/unit.yml", "whole_file"), ("roles/pm2/tasks/save.yml", "command")}


@pytest.mark.parametrize(
    ("task", "offends"),
    [
        ("ansible.builtin.file: {path: '{{ app_reports_dir }}', state: directory}", True),
        ("ansible.builtin.file: {path: '{{ app_env_file }}', mode: '0600'}\nbecome: true", True),
        ("ansible.builtin.file: {path: '{{ app_env_file }}', mode: '0600'}\nbecome_user: root", True),
        ("ansible.builtin.file: {path: '{{ item }}'}\nloop: ['{{ backup_dir }}', /srv/x]", True),
        ("ansible.builtin.file: {path: '{{ item }}'}\nloop: [/srv/x]", False),
        ("ansible.builtin.file: {path: '{{ some_path }}'}", True),
        ("ansible.builtin.template: {src: a.j2, dest: '{{ mysql_defaults_file }}', owner: '{{ app_user }}'}", True),
        ("whole_file: {path: '{{ mysql_defaults_file | dirname }}/x', content: x}", True),
        ("ansible.builtin.command: {argv: [pm2, startup]}\nenvironment: {PM2_HOME: '{{ pm2_home }}'}", True),
        ("ansible.builtin.command: {argv: ['{{ pm2_command }}', startup]}", True),
        ("ansible.builtin.command: touch {{ pm2_home | dirname }}/x", True),
        ("ansible.builtin.file: {path: '{{ app_env_file }}'}\nbecome: true\nbecome_user: '{{ app_user }}'", False),
        ("whole_file: {path: '/etc/systemd/system/{{ pm2_unit }}', content: '{{ pm2_home }}'}", False),
        ("block: [{ansible.builtin.copy: {dest: '{{ pm2_home }}/x'}}]\nbecome_user: '{{ app_user }}'", False),
        ("block: [{ansible.builtin.copy: {dest: '{{ pm2_home }}/x'}}]\nbecome: true", True),
    ],
)
def test_the_rule_itself(task: str, offends: bool) -> None:
    (only,) = tasks_of("x", [yaml.safe_load(task)], {})
    assert bool(offences(only)) is offends
