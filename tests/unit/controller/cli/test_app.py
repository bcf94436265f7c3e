"""The command line as a whole: what it lists, and what it says of anything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from orquestrador_ops import cli
from orquestrador_ops.cli import app


def commands(command: Any, *names: str) -> Iterator[tuple[str, ...]]:
    yield names
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, *names, name)


ALL = list(commands(typer.main.get_command(app.app)))


def test_the_commands_there_are() -> None:
    single = {"run", "watch", "status", "incidents", "incident", "ack", "close-breaker"}
    groups = {("reports", "show"), ("sla", "export"), ("sla", "metrics"), ("history", "import"), ("history", "roll-up")}
    assert {(name,) for name in single} | groups <= set(ALL)


@pytest.mark.parametrize("names", ALL, ids=" ".join)
def test_every_command_tells_how_it_is_used(names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*names, "-h"]) == 0
    assert "--help" in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("runbook ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["ack", "one"],
        ["ack", "0"],
        ["watch", "--interval", "0"],
        ["reports", "--limit", "1001"],
        ["sla", "metrics", "--gap", "soon"],
        ["history", "roll-up", "--raw-days", "-1"],
        ["\x1b[31m"],
    ],
)
def test_what_cannot_be_asked_like_this_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
