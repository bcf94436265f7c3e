"""What suites say: of any dialect, in any colour; and what is made of it."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.app import suite as test_suite
from orquestrador.app.dist import DeployError
from orquestrador.app.suite import Counts, Suite, parse_counts, run_suite
from orquestrador.core.messages import plain
from orquestrador.system import long_command

E = "\x1b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            f"{E}[1mA{E}[0m\nTestes passados: {E}[0;32m28/28{E}[0m\nTestes falhados: {E}[0;31m0/28{E}[0m\n",
            (28, 0, 28),
            id="the application's own",
        ),
        pytest.param(
            f"Testes {E}[1mpassados{E}[0m:{E}[0;32m 27{E}[0m/{E}[1m28{E}[0m\r\nTestes falhados: 1/28\r\n",
            (27, 1, 28),
            id="escape codes in between",
        ),
        pytest.param("✅ Testes passados: 28 de 28\n❌ Testes falhados: 0 de 28", (28, 0, 28), id="marks"),
        pytest.param("Testes passados: 27/28", (27, 1, 28), id="the total tells of failures"),
        pytest.param("Testes falhados: 3/28", (25, 3, 28), id="only failures"),
        pytest.param("Passed: 12\nFailed: 1\n", (12, 1, 13), id="English labels"),
        pytest.param("Tests passed: 12\nTests failed: 0\n", (12, 0, 12), id="English, longer"),
        pytest.param("Total Passed: 12\nTotal Failed: 2\n", (12, 2, 14), id="total"),
        pytest.param(
            "Testes passados: 1/2\nTestes falhados: 1/2\n...\nTestes passados: 2/2\nTestes falhados: 0/2",
            (2, 0, 2),
            id="the last summary counts",
        ),
        pytest.param(
            "Test Suites: 1 failed, 3 passed, 4 total\nTests:       1 failed, 2 skipped, 27 passed, 30 total\n"
            "Snapshots:   0 total\nTime:        1.5 s",
            (27, 1, 28),
            id="Jest",
        ),
        pytest.param(
            " Test Files  1 failed | 3 passed (4)\n      Tests  1 failed | 27 passed (28)\n   Duration 2s",
            (27, 1, 28),
            id="Vitest",
        ),
        pytest.param(" Test Files  4 passed (4)\n      Tests  28 passed (28)\n", (28, 0, 28), id="Vitest, all good"),
        pytest.param("  26 passing (3s)\n  1 pending\n  2 failing\n", (26, 2, 28), id="Mocha"),
        pytest.param("  28 passing (3s)\n", (28, 0, 28), id="Mocha, all good"),
        pytest.param("======== 1 failed, 25 passed, 2 skipped, 1 error in 3.20s ========", (25, 2, 27), id="pytest"),
        pytest.param("28 passed in 0.12s", (28, 0, 28), id="pytest -q"),
        pytest.param("TAP version 13\nok 1\nnot ok 2 - b\nok 3 # skip\nok 4 - c\n1..4\n# tests 4", (2, 1, 3), id="TAP"),
        pytest.param("# tests 28\n# suites 2\n# pass 27\n# fail 1\n# cancelled 0\n", (27, 1, 28), id="node, TAP"),
        pytest.param("ℹ tests 28\nℹ suites 2\nℹ pass 28\nℹ fail 0\n", (28, 0, 28), id="node, spec"),
        pytest.param("1..3\nok 1\n", (1, 2, 3), id="TAP that broke off"),
    ],
)
def test_counts_of(text: str, expected: tuple[int, int, int]) -> None:
    assert parse_counts(long_command.readable(text)) == Counts(*expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "All fine.",
        "ok",
        "OK",
        "passed",
        "Passed!",
        "12:30:01 failed to connect",
        "100% pass",
        "Testes: ok",
        "ok 1 - a\nok 2 - b",
        "server listens on 3001",
        "password: 123456",
        "PASS src/a.test.ts",
        "Passed: 28",
        "Test Files  4 passed (4)",
        "Test Suites: 4 passed, 4 total",
    ],
)
def test_no_counts_in(text: str) -> None:
    assert parse_counts(text) is None


@given(st.text(max_size=400))
def test_any_text_is_survived(text: str) -> None:
    counts = parse_counts(long_command.readable(text))
    assert counts is None or (counts.passed >= 0 and counts.failed >= 0 and counts.total >= 0)


@given(st.integers(0, 5000), st.integers(0, 5000), st.lists(st.sampled_from(["\x1b[0m", "\x1b[1;32m", ""]), min_size=6))
def test_colours_change_no_count(passed: int, failed: int, codes: list[str]) -> None:
    total = passed + failed
    text = (
        f"{codes[0]}Testes {codes[1]}passados:{codes[2]} {passed}{codes[3]}/{codes[4]}{total}{codes[5]}\n"
        f"Testes {codes[5]}falhados: {codes[1]}{failed}/{total}\n"
    )
    assert parse_counts(long_command.readable(text)) == Counts(passed, failed, total)


def ended(code: int | None, timed_out: bool = False) -> long_command.Ended:
    return long_command.Ended(code, "", timed_out, None, 1.0)


@pytest.mark.parametrize(
    ("counts", "code", "status", "text"),
    [
        ((28, 0, 28), 0, "ok", "28 of 28 tests passed"),
        ((28, 0, 28), 3, "ok", "although the suite ended with status 3"),
        ((30, 0, 30), 0, "ok", "correct app_test_expected"),
        ((27, 1, 28), 0, "failed", "1 of 28 tests failed"),
        ((27, 0, 27), 0, "failed", "28 are expected"),
        ((0, 0, 0), 0, "failed", "28 are expected"),
        (None, 0, "unknown", "no counts were found"),
        (None, 1, "unknown", "no counts were found"),
        ((28, 0, 28), None, "failed", "was killed after 5"),
    ],
)
def test_judgement(counts: tuple[int, int, int] | None, code: int | None, status: str, text: str) -> None:
    suite = Suite("/app", "true", 28, 5)
    found, note = test_suite.judge(Counts(*counts) if counts else None, ended(code, code is None), suite)
    assert (found, text in plain(note)) == (status, True), note


def test_output_is_kept_scrubbed_without_colours_and_bounded(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("API_TOKEN=correct-horse-battery\n")
    script = tmp_path / "suite.sh"
    script.write_text(
        '#!/bin/sh\nfor i in $(seq 30000); do echo "line $i of a long suite that says too much"; done\n'
        "printf '\\033[31mtoken correct-horse-battery\\033[0m\\nTestes passados: 1/1\\nTestes falhados: 0/1\\n'\n"
    )
    script.chmod(0o755)
    suite = Suite(str(tmp_path), "./suite.sh", 1, 60, str(tmp_path / "reports"), str(tmp_path / ".env"))
    result = run_suite(suite, check_mode=False)
    assert (result["status"], result["changed"]) == ("ok", False)
    report = Path(result["evidence"]["report"])
    assert report.name == f"tests-{time.strftime('%Y%m%d')}.txt"
    assert stat.S_IMODE(report.stat().st_mode) == 0o640
    text = report.read_text()
    assert text.startswith("line 1 of")
    assert text.endswith("Testes falhados: 0/1\n")
    assert len(text) < 600_000
    for kept in (text, result["evidence"]["output"]):
        assert "correct-horse" not in kept
        assert "\x1b" not in kept
    assert list(report.parent.iterdir()) == [report]


def test_check_mode_runs_nothing(tmp_path: Path) -> None:
    result = run_suite(Suite(str(tmp_path), "touch ran", 28, 5, str(tmp_path / "reports")), check_mode=True)
    assert result["changed"] is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("./missing.sh", "does not exist"),
        ("no-such-program-here", "is not installed"),
        ("", "empty"),
        ("a 'b", "can't be read"),
        ("./plain.txt", "may not be executed"),
    ],
)
def test_what_cannot_be_run_is_one_line(tmp_path: Path, command: str, text: str) -> None:
    (tmp_path / "plain.txt").write_text("x")
    (tmp_path / "plain.txt").chmod(0o600)
    with pytest.raises(DeployError) as raised:
        run_suite(Suite(str(tmp_path), command, 28, 5), check_mode=False)
    assert text in plain(raised.value.message)
    assert "\n" not in plain(raised.value.message)
