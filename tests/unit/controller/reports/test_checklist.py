from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.core.i18n import Translator, translator
from orquestrador_ops.core.text import columns
from orquestrador_ops.procedures import outcome as routines
from orquestrador_ops.reports import checklist, view

Run = tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]
PT, EN = translator("pt_BR"), translator("en")


def shown(run: Run, tr: Translator, **paper: Any) -> str:
    return checklist.render(view.build(*run, tr), tr, **paper)


def test_healthy_in_portuguese(healthy: Run) -> None:
    text = shown(healthy, PT, reports={"md": "/r/daily.md", "html": "/r/daily.html"})
    lines = text.splitlines()
    assert lines[0] == "Rotina diária em web-01 · 22/11/2026 09:00:00"
    assert lines[1] == "✔ SAUDÁVEL — resultado esperado alcançado · 6 de 6 etapas como esperado"
    assert "✔ 1. Status do PM2 — OK" in lines
    assert "   ✔ Verificação de saúde: 41,5% em uso  (esperado: abaixo de 85%)" in lines
    assert lines[-1] == "Relatório: /r/daily.md"
    assert "✘" not in text and "→" not in text


def test_healthy_in_english(healthy: Run) -> None:
    lines = shown(healthy, EN).splitlines()
    assert lines[0] == "Daily routine on web-01 · 2026-11-22 09:00:00"
    assert lines[1].startswith("✔ HEALTHY — expected result met")


@pytest.mark.usefixtures("emergency_playbooks")
def test_broken_says_what_was_expected_and_what_to_do(broken: Run) -> None:
    text = shown(broken, PT)
    assert "✘ CRÍTICO — resultado esperado NÃO alcançado" in text
    assert "✘ 2. Verificação de saúde — FALHOU" in text
    assert "! 5. Uso de recursos — ATENÇÃO" not in text  # one unknown there is worse than a warning
    assert "? 5. Uso de recursos — DESCONHECIDO" in text
    assert "✔ 6. Backup dos arquivos críticos — FEITO" in text
    assert "esperado: abaixo de 85%" in text
    assert "→ Rode chmod 600 nele." in text
    assert "Procedimento indicado: Emergência: falha de conexão com o banco de dados" in text
    assert "ansible-playbook playbooks/emergency/database.yml -e target=web-01" in text
    assert "O servidor de banco parou de responder" in text


def test_unreachable_host_is_shown(unreachable: Run) -> None:
    text = shown(unreachable, PT)
    assert "? DESCONHECIDO — host inacessível" in text
    assert "web-01 inacessível por SSH: Connection refused" in text
    assert "pm2.daemon" not in text


def test_previous_run_is_named(healthy: Run) -> None:
    record, snapshot, verdict = healthy
    assert "Não há registro de execução anterior" in shown((record, snapshot, verdict), PT)
    record["previous_run"] = {"run_id": "x", "started_at": "2026-11-21T12:00:00Z", "outcome": "not_met"}
    text = shown((record, snapshot, verdict), PT)
    assert "Desde a última execução desta rotina: 21/11/2026 09:00:00 (resultado esperado NÃO alcançado)" in text


def test_check_mode_is_said_and_claims_nothing(broken: Run) -> None:
    record, snapshot, verdict = broken
    record["check_mode"] = True
    text = shown((record, snapshot, verdict), PT)
    assert "modo de verificação: nada foi alterado" in text
    assert "FEITO" not in text and "MUDARIA" in text


@pytest.mark.parametrize("colour", [True, False])
def test_escape_sequences_only_where_colour_is_wanted(broken: Run, colour: bool) -> None:
    text = shown(broken, PT, colour=colour)
    assert ("\x1b" in text) == colour
    # What came from the host stays powerless in either case.
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == shown(broken, PT)
    assert "\x1b[31mred" not in text


def test_colour_is_not_what_carries_the_meaning(broken: Run) -> None:
    text = shown(broken, EN, encoding="ascii")
    assert "CRITICAL" in text and "FAILED" in text and "UNKNOWN" in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "ANSI_X3.4-1968", None])
def test_other_encodings_get_ascii(broken: Run, encoding: str | None) -> None:
    assert shown(broken, PT, colour=False, encoding=encoding).isascii()


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf_8"])
def test_utf8_by_any_name(healthy: Run, encoding: str) -> None:
    assert "SAUDÁVEL" in shown(healthy, PT, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [0, 40, 60, 100, 200])
def test_lines_fit_but_paths_and_commands_are_whole(broken: Run, width: int, encoding: str) -> None:
    path = "/a/" + "long" * 60
    text = shown(broken, PT, width=width, reports={"md": path}, encoding=encoding)
    *lines, last = text.splitlines()
    assert last.endswith(path)
    assert all(columns(line) <= max(width, 40) or "ansible-playbook" in line for line in lines)


def test_many_findings_are_counted(broken: Run) -> None:
    record, snapshot, verdict = broken
    assert snapshot is not None
    snapshot["errors"] = snapshot["errors"] * 20
    assert "mais 12 no relatório" in shown((record, snapshot, verdict), PT)


@pytest.mark.usefixtures("emergency_playbooks")
def test_target_is_quoted_for_the_shell(broken: Run) -> None:
    record, snapshot, verdict = broken
    record["host"] = "a; rm -rf /"
    assert "-e 'target=a; rm -rf /'" in shown((record, snapshot, verdict), PT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
RECORD_KEYS = st.sampled_from(
    [
        *("run_id", "procedure", "host", "operator", "steps", "started_at", "ended_at", "budget_s", "outcome"),
        *("previous_run", "failure", "reports", "escalated_to"),
    ]
)
VERDICT_KEYS = st.sampled_from(["overall", "checks", "procedure", "reasons"])
SNAPSHOT_KEYS = st.sampled_from(["pm2", "database", "resources", "logs", "files", "errors"])


@given(
    st.dictionaries(RECORD_KEYS, JSON),
    st.none() | st.dictionaries(SNAPSHOT_KEYS, JSON),
    st.none() | st.dictionaries(VERDICT_KEYS, JSON),
)
def test_no_shape_of_data_breaks_the_checklist(record: Any, snapshot: Any, verdict: Any) -> None:
    text = shown((record, snapshot, verdict), PT, width=80)
    text.encode("utf-8")
    assert "\x1b" not in text


PLACES = ("pm2.processes", "database.slow", "resources.disk", "logs.fingerprints", "files.files")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("rows", [None, 3, "text", [None, 1, "x"], [{}], {"a": 1}])
def test_tables_survive_misshapen_rows(healthy: Run, place: str, rows: Any) -> None:
    record, snapshot, verdict = healthy
    assert snapshot is not None
    outer, inner = place.split(".")
    snapshot[outer] = {inner: rows}
    made = view.build(record, snapshot, verdict, PT)
    assert all(len(row) == len(table["columns"]) for table in made["tables"] for row in table["rows"])


def test_nobody_is_sent_to_a_playbook_that_is_not_there(
    broken: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "PROJECT", tmp_path)
    text = shown(broken, EN)
    assert "Called for" in text
    assert "ansible-playbook" not in text


def test_an_unreachable_host_is_one_reason_and_no_list_of_unknowns() -> None:
    failure = {"text": "{host} cannot be reached over SSH: {reason}", "args": {"host": "web-01", "reason": "refused"}}
    steps, outcome = routines.conclude("daily", None, None, {})
    record = {
        "run_id": "x",
        "procedure": "daily",
        "host": "web-01",
        "steps": steps,
        "outcome": outcome,
        "failure": failure,
    }
    text = shown((record, None, None), EN)
    assert "refused" in text
    assert "pm2.daemon" not in text
