"""Typer's own sentences in the operator's language: usage, errors, and the help of its options.

Typer has most of them in English only, so they are recognised by their form when they are printed.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import typer.core
import typer.main

from orquestrador.core.messages import msg

from .words import t

OPTIONS, ARGUMENTS = msg("[OPTIONS]"), msg("COMMAND [ARGS]...")
HELP = (
    msg("Show this message and exit."),
    msg("Install completion for the current shell."),
    msg("Show completion for the current shell, to copy it or customize the installation."),
)
# Typer looks these up itself.
LOOKED_UP = (
    msg("Arguments"),
    msg("Options"),
    msg("Commands"),
    msg("required"),
    msg("default: {default}"),
    msg("Missing command."),
    msg("No such command {name!r}."),
    msg("Aborted!"),
)
SENTENCES = (
    msg("Usage: {usage}"),
    msg("Try {command} for help."),
    msg("Error: {message}"),
    msg("{message}. Did you mean {names}?"),
    msg("Missing argument {name}."),
    msg("Missing option {name}."),
    msg("No such option: {name} (Possible options: {names})"),
    msg("No such option: {name}"),
    msg("Got unexpected extra argument(s) ({names})"),
    msg("Option {name} requires an argument."),
    msg("Option {name} does not take a value."),
    msg("Invalid value for {name}: {message}"),
    msg("Input should be a valid integer, unable to parse string as an integer"),
    msg("Input should be a valid number, unable to parse string as a number"),
    msg("Input should be greater than or equal to {limit}"),
    msg("Input should be less than or equal to {limit}"),
)
_FORMS = [
    (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(form["text"]))), form["text"]) for form in SENTENCES
]


def translate(output: str) -> str:
    """Translate the sentences of an output that are Typer's; leave other lines as they are."""
    return "\n".join(map(_translate_sentence, output.split("\n")))


def _translate_sentence(line: str) -> str:
    for pattern, text in _FORMS:
        if match := pattern.fullmatch(line):
            return t(text, **{name: _translate_sentence(value) for name, value in match.groupdict().items()})
    return line


def command_of(app: typer.Typer) -> Any:
    """Return the command of ``app``, with Typer's sentences in the operator's language."""
    core = vars(typer.core)
    core["_"] = t
    click = (core.get("_click") or core["click"]).__name__
    for module in ("exceptions", "decorators"):
        vars(importlib.import_module(f"{click}.{module}"))["echo"] = _echo
    command = typer.main.get_command(app)
    _translate_help(command, typer.Context(command, **command.context_settings))
    return command


def _echo(message: Any = None, **options: Any) -> None:
    typer.echo(translate(message) if isinstance(message, str) else message, **options)


def _translate_help(command: Any, context: typer.Context) -> None:
    texts = {sentence["text"] for sentence in HELP}
    for option in command.get_params(context):
        if getattr(option, "help", None) in texts:
            option.help = t(option.help)
    command.options_metavar = t(OPTIONS["text"])
    for child in getattr(command, "commands", {}).values():
        command.subcommand_metavar = t(ARGUMENTS["text"])
        _translate_help(child, context)
