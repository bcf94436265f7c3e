"""Run the application's own test suite and believe what it counts, not the status that it ends with."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Optional, Union

from ..core.errors import os_reason
from ..core.messages import msg
from ..core.redact import load_secrets, scrub_text
from ..core.types import Message
from ..system import long_command
from .build import arguments, require
from .dist import DeployError

REPORT_MODE, DIR_MODE = 0o640, 0o750


class Counts(NamedTuple):
    """What a suite says of itself."""

    passed: int
    failed: int
    total: int


class Suite(NamedTuple):
    """What to run, where, for how long, and what is expected of it."""

    app_dir: str
    command: Union[str, list[str]]
    expected: int
    timeout_s: float
    report_dir: str = ""
    env_file: str = ""


# --- pure: what a suite says ---------------------------------------------------------------------------------------

_N = r"(\d{1,7})"
_PASSED = r"(?:pass(?:ed|ing)?|passad[oa]s?|passaram|aprovad[oa]s?|sucessos?|succeeded|successes|ok)"
_FAILED = r"(?:fail(?:ed|ing|ures?|s)?|falhad[oa]s?|falharam|falhas?|reprovad[oa]s?|errors?|erros?)"
# "Testes passados: 28/28", "Tests failed = 0 of 28", "# pass 28", "pass 28" after a mark.
_LABELLED = r"^[\Wℹ]{0,6}(?:(?:tests?|testes?|total)\W{1,3}(?:\w{2,9}\W{1,3})?)?%s\s*(?:[:=]\s*|\s)\s*" + _N
_OF = r"(?:\s*(?:/|de|of)\s*" + _N + r")?(?![\w.%%]*\w)"
_LABELLED_PASSED = re.compile(_LABELLED % _PASSED + _OF.replace("%%", "%"), re.I)
_LABELLED_FAILED = re.compile(_LABELLED % _FAILED + _OF.replace("%%", "%"), re.I)
# "1 failed", "27 passing (3s)", "28 testes passaram": numbers before words, anywhere in a line of a summary.
_COUNTED = re.compile(rf"(?<![\w.]){_N}\s+(?:tests?\s+|testes?\s+)?([a-zà-ú]{{2,12}})", re.I)
_IS_PASSED, _IS_FAILED = re.compile(_PASSED + r"\Z", re.I), re.compile(_FAILED + r"\Z", re.I)
# Jest and Vitest count files and suites as well, on lines of the same form.
_NOT_TESTS = re.compile(r"^\W*(?:test\s+(?:files|suites)|suites?|snapshots|files)\b", re.I)
_TESTS_LINE = re.compile(r"^\W*tests:?\s", re.I)
_PYTEST_LINE = re.compile(r"^=+ .*\bin \d.* =+$|^\d+ (?:passed|failed|error).* in \d")
_MOCHA_LINE = re.compile(r"^\s*\d+ (?:passing|failing)\b")
_TAP_RESULT = re.compile(r"^(not )?ok\b(?:[^#]|#(?!\s*(?:skip|todo)))*(#\s*(?:skip|todo).*)?$", re.I)
_TAP_PLAN = re.compile(r"^1\.\.(\d{1,7})\s*(?:#.*)?$")


def parse_counts(text: str) -> Optional[Counts]:
    """What the summary of a suite counts, ``None`` when there is none. ``text`` is without escape codes.

    A suite that prints several summaries is taken at its last one.
    """
    lines = text.splitlines()
    dialects: tuple[Callable[[list[str]], Optional[Counts]], ...] = (_labelled, _worded, _tap)
    return next((counts for dialect in dialects if (counts := dialect(lines)) is not None), None)


def _labelled(lines: list[str]) -> Optional[Counts]:
    passed = failed = total = None
    for line in lines:
        if _NOT_TESTS.match(line):
            continue
        for pattern, is_passed in ((_LABELLED_PASSED, True), (_LABELLED_FAILED, False)):
            found = pattern.match(line)
            if not found:
                continue
            number = int(found[1])
            if found[2]:
                total = int(found[2])
            if is_passed:
                passed = number
                failed = None  # a summary begins with what passed; what an earlier one counted is over
            else:
                failed = number
    if passed is None and failed is None:
        return None
    if passed is None:
        return Counts(max((total or 0) - (failed or 0), 0), failed or 0, total or failed or 0)
    if failed is None:
        # Without a word on failures the total is what tells of them, and without a total nothing does.
        return Counts(passed, max(total - passed, 0), total) if total is not None else None
    return Counts(passed, failed, max(total or 0, passed + failed))


def _worded(lines: list[str]) -> Optional[Counts]:
    last: Optional[Counts] = None
    mocha: dict[str, int] = {}
    for line in lines:
        if _NOT_TESTS.match(line) or not (
            _TESTS_LINE.match(line) or _PYTEST_LINE.match(line) or _MOCHA_LINE.match(line)
        ):
            continue
        passed = failed = 0
        known = False
        for number, word in _COUNTED.findall(line):
            if _IS_PASSED.match(word):
                passed, known = passed + int(number), True
            elif _IS_FAILED.match(word):
                failed, known = failed + int(number), True
        if not known:
            continue
        if _MOCHA_LINE.match(line) and not _PYTEST_LINE.match(line):
            # Passing and failing stand on two lines, the second one only when there is something to say.
            mocha = {"passed": passed} if "passing" in line else {**mocha, "failed": failed}
            passed, failed = mocha.get("passed", 0), mocha.get("failed", 0)
        last = Counts(passed, failed, passed + failed)
    return last


def _tap(lines: list[str]) -> Optional[Counts]:
    plan, passed, failed, left_out = None, 0, 0, 0
    for line in lines:
        planned = _TAP_PLAN.match(line)
        if planned:
            plan = int(planned[1])
            continue
        result = _TAP_RESULT.match(line)
        if result and result[2]:
            left_out += 1
        elif result:
            passed, failed = passed + (not result[1]), failed + bool(result[1])
    if plan is None:
        return None
    # What was planned and has no result did not pass.
    failed = max(failed, plan - passed - left_out)
    return Counts(passed, failed, passed + failed)


def judge(counts: Optional[Counts], done: long_command.Ended, suite: Suite) -> tuple[str, Message]:
    """Status and note of a run. Counts are believed over the exit status, and a suite that did not end is not good."""
    known: dict[str, Any] = {"code": done.code, "expected": suite.expected}
    if counts is not None:
        known.update(passed=counts.passed, failed=counts.failed, total=counts.total)
    if done.timed_out:
        known["limit_s"] = suite.timeout_s
        text = msg(
            "the suite was killed after {limit_s}, not having ended: see its last lines, or raise app_test_timeout_s",
            **known,
        )
    elif counts is None:
        text = msg(
            "the suite ended with status {code} and no counts were found in what it said: look at its last lines",
            **known,
        )
        return "unknown", text
    elif counts.failed:
        text = msg("{failed} of {total} tests failed, {passed} passed", **known)
    elif counts.passed < suite.expected:
        text = msg("{passed} tests passed and none failed, but {expected} are expected", **known)
    else:
        return "ok", _good(counts, suite, done, known)
    return "failed", text


def _good(counts: Counts, suite: Suite, done: long_command.Ended, known: dict[str, Any]) -> Message:
    if counts.passed > suite.expected:
        return msg("{passed} tests passed, more than the {expected} expected: correct app_test_expected", **known)
    if done.code != 0:
        return msg("{passed} of {total} tests passed, although the suite ended with status {code}", **known)
    return msg("{passed} of {total} tests passed", **known)


# --- I/O -----------------------------------------------------------------------------------------------------------


def run_suite(suite: Suite, *, check_mode: bool) -> dict[str, Any]:
    """Run it; ``{changed, status, note, evidence}``. Raises :class:`.app_dist.DeployError` when it can't be run."""
    argv = arguments(suite.command)
    require(argv, suite.app_dir)
    if check_mode:
        text = msg("{command} would be run in {path}.", command=shlex.join(argv), path=suite.app_dir)
        return {"changed": False, "status": "ok", "note": text, "evidence": {}}
    done = long_command.run(argv, cwd=suite.app_dir, timeout_s=suite.timeout_s, mark=secrets.token_hex(8))
    if done.error is not None:
        raise DeployError(msg("{command} could not be started: {reason}", command=argv[0], reason=done.error))
    counts = parse_counts(done.output)
    status, note = judge(counts, done, suite)
    hidden = load_secrets(suite.env_file)
    evidence: dict[str, Any] = {
        "command": shlex.join(argv),
        "passed": counts.passed if counts else None,
        "failed": counts.failed if counts else None,
        "total": counts.total if counts else None,
        "expected": suite.expected,
        "exit_code": done.code,
        "duration_s": done.seconds,
        "output": long_command.last_lines(done.output, hidden, lines=60, characters=8000),
        "report": _write(suite.report_dir, done.output, hidden) if suite.report_dir else None,
    }
    return {"changed": False, "status": status, "note": note, "evidence": evidence}


def _write(folder: str, output: str, hidden: list[str]) -> str:
    """Keep the output as ``tests-YYYYMMDD.txt``, in the host's date as the playbook's own ``date`` gives it."""
    place = os.path.join(folder, f"tests-{time.strftime('%Y%m%d')}.txt")
    temporary = f"{place}.{os.getpid()}"
    # By pieces of whole lines: what is scrubbed at once is bounded.
    pieces, piece = [], ""
    for line in output.splitlines(keepends=True):
        if len(piece) + len(line) > 32768:
            pieces.append(piece)
            piece = ""
        piece += line
    text = "".join(scrub_text(one, hidden) for one in [*pieces, piece])
    try:
        os.makedirs(folder, DIR_MODE, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, REPORT_MODE)
        with open(descriptor, "w", encoding="utf-8", errors="replace") as stream:
            os.fchmod(stream.fileno(), REPORT_MODE)
            stream.write(text if text.endswith("\n") else text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, place)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise DeployError(
            msg("the suite ran, but {path} can't be written: {reason}", path=place, reason=os_reason(error))
        ) from error
    return place
