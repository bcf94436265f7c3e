"""Typer's own sentences in the operator's language."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from orquestrador_ops.cli import usage, words
from orquestrador_ops.core import i18n

ENGLISH = (
    "Usage",
    "Try ",
    "Error",
    "OPTIONS",
    "COMMAND",
    "Missing",
    "No such",
    "Invalid",
    "Show this",
    "completion for",
)


def runbook(locale: str, *arguments: str) -> str:
    argv = [sys.executable, "-m", "orquestrador_ops.cli", *arguments]
    environment = {**os.environ, "OPS_LOCALE": locale, "COLUMNS": "200"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("--help", "Mostrar esta mensagem e sair."),
        ("history", "COMANDO [ARGS]..."),
        ("run", "Erro: Falta o argumento 'procedure'."),
        ("ack x", "Erro: Valor inválido para 'number': informe um número inteiro"),
        ("ack 0", "o mínimo é 1"),
        ("statu", "Erro: Não existe o comando 'statu'. Você quis dizer 'status'?"),
        ("run daily --targe x", "Não existe a opção --targe (opções parecidas: --target)"),
        ("status extra", "Erro: Argumento(s) a mais: extra"),
        ("run --target", "Erro: A opção '--target' exige um valor."),
    ],
)
def test_usage_is_in_portuguese(command: str, expected: str) -> None:
    output = runbook("pt_BR", *command.split())
    assert expected in output
    assert not [word for word in ENGLISH if word in output], output


def test_usage_is_in_english() -> None:
    assert "Usage: runbook run [OPTIONS]" in (output := runbook("en", "run"))
    assert "Try 'runbook run -h' for help.\n\nError: Missing argument 'procedure'." in output


def test_only_sentences_of_typer_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "translator", lambda: i18n.translator("pt_BR"))
    ours = "web-01: Missing argument 'x'.\n  Usage: of the disk"
    assert usage.translate(ours) == ours
    assert usage.translate("Error: Missing argument 'x'.\n") == "Erro: Falta o argumento 'x'.\n"
