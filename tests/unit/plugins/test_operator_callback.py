"""What an operator reads when a task fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.executor.stats import AggregateStats

from orquestrador_ops.core.i18n import translator
from tests.unit.fakes.loading import load

plugin = load("callback_plugins/operator.py")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"msg": "no such file"}, "no such file"),
        ({"msg": "non-zero return code", "stderr": "one\ntwo"}, "non-zero return code - two"),
        ({"msg": "FAILURE", "module_stderr": "Traceback\n  File x\nKeyError: 'a'"}, "FAILURE - KeyError: 'a'"),
        ({"results": [{"failed": False}, {"failed": True, "msg": "second"}], "msg": "All items completed"}, "second"),
        (
            {"argument_errors": ["a is wrong", "b is missing"], "msg": "Validation failed"},
            "a is wrong; b is missing: correct the variable in the inventory",
        ),
        ({}, "no reason given, see -v"),
        ({"msg": "two\nlines"}, "two lines"),
        ({"msg": "x", "failures": [{"text": "{n} gone", "args": {"n": 2}}, {"text": "b", "args": {}}]}, "2 gone; b"),
        ({"msg": "x", "failures": ["plain"]}, "x"),
        ({"msg": "x", "failures": 84}, "x"),
    ],
)
def test_a_failure_is_one_line(result: dict[str, Any], expected: str) -> None:
    assert plugin.reason(result) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({}, ""),
        ({"note": None}, ""),
        ({"note": "two\nlines"}, "two lines"),
        ({"note": {"text": "held by {run_id}", "args": {"run_id": "a\nb"}}}, "held by a b"),
        ({"note": [{"text": "saved", "args": {}}, {"text": "{n} rows", "args": {"n": 2}}]}, "saved; 2 rows"),
    ],
)
def test_a_note_is_one_line(result: dict[str, Any], expected: str) -> None:
    assert plugin.note(result) == expected


def test_messages_are_put_in_the_operators_language() -> None:
    words = translator("pt_BR").message
    said = {"text": "The step did not run.", "args": {}}
    assert plugin.note({"note": [said]}, words) == "O passo não foi executado."
    assert plugin.reason({"msg": "x", "failures": [said]}, words) == "O passo não foi executado."


def test_recap_of_a_fleet_names_those_that_something_happened_to() -> None:
    stats = AggregateStats()
    for number in range(30):
        stats.increment("ok", f"host-{number}")
    for kind in ("changed", "failures", "dark", "rescued", "ignored"):
        stats.increment(kind, kind)
    assert plugin.uneventful(stats) == [f"host-{number}" for number in range(30)]


class Play:
    """A play over hosts, which counts how often variables are computed."""

    hosts = "all"

    def __init__(self, variables: dict[str, Any], *, check_mode: bool = False, hosts: int = 50) -> None:
        self.variables, self.check_mode, self.computed_for = variables, check_mode, []
        self._inventory = SimpleNamespace(get_hosts=lambda pattern: [f"{pattern}-{n}" for n in range(hosts)])

    def get_name(self) -> str:
        return "Run the daily routine"

    def get_variable_manager(self) -> Play:
        return self

    def get_vars(self, play: Play, host: Any) -> dict[str, Any]:
        self.computed_for.append(host)
        return self.variables


def printed(play: Play, *names: str, unreachable: bool = False) -> list[str]:
    """Lines of a play whose tasks have these names."""
    lines: list[str] = []
    callback = plugin.CallbackModule()
    callback._display = SimpleNamespace(verbosity=0, display=lambda line, **_: lines.append(line))
    callback.v2_playbook_on_play_start(play)
    host = SimpleNamespace(get_name=lambda: "web-01")
    for name in names:
        task = SimpleNamespace(_uuid="", action="command", get_name=lambda name=name: name)
        callback.v2_playbook_on_task_start(task, False)
        callback.v2_runner_on_ok(SimpleNamespace(result={"changed": True}, task=task, host=host))
    if unreachable:
        callback.v2_runner_on_unreachable(SimpleNamespace(result={}, host=host))
    callback.v2_runner_on_failed(SimpleNamespace(result={"argument_errors": ["a is wrong"]}, host=host))
    return lines


NAMES = ("app : Acquire the host lease", "app : Create the directory /srv/app/logs", "Somebody's own task")


def test_plays_and_tasks_are_named_in_the_operators_language() -> None:
    assert printed(Play({"ops_locale": "pt_BR"}, check_mode=True), *NAMES, unreachable=True) == [
        "\nExecutar a rotina diária (modo de verificação: nada é alterado)",
        "  - app : Reservar o host",
        "    alterado: web-01",
        "  - app : Criar o diretório /srv/app/logs",
        "    alterado: web-01",
        "  - Somebody's own task",
        "    alterado: web-01",
        "    inalcançável: web-01: sem motivo informado, veja -v",
        "    falhou: web-01: a is wrong: corrija a variável no inventário",
    ]


@pytest.mark.parametrize("locale", ["en", "not a language"])
def test_names_stay_as_they_are_in_english_and_without_a_language(locale: str) -> None:
    lines = printed(Play({"ops_locale": locale}), *NAMES)
    assert lines[:3] == ["\nRun the daily routine", "  - app : Acquire the host lease", "    changed: web-01"]
    assert lines[-1] == "    failed: web-01: a is wrong: correct the variable in the inventory"


def test_variables_are_computed_once_for_the_names_of_a_play() -> None:
    play = Play({}, hosts=50)
    lines = printed(play, *NAMES * 20)
    assert lines[1] == "  - app : Reservar o host"
    assert play.computed_for[0] == "all-0", "the inventory's language, which only a host's variables have"
    assert len(play.computed_for) == 2, "once for the play, once for the failure"


def test_a_play_without_hosts_has_the_default_language() -> None:
    assert printed(Play({}, hosts=0))[0] == "\nExecutar a rotina diária"
