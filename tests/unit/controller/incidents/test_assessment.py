"""What the results of an emergency come to, whatever there is of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core.messages import msg, plain
from orquestrador_ops.core.host_results import ProbeResult, RecoveryResult
from orquestrador_ops.core.i18n import epoch
from orquestrador_ops.incidents import assessment
from orquestrador_ops.incidents.breaker import Limits

CASE = assessment.Case("web-01", "offline", "run-1", "ana", False, Limits(), 1_780_000_000.0)
WELL = {"verdict": {"overall": "healthy", "procedure": "none"}}
WILD = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
KEYS = ["outcome", "diagnosis", "steps", "failures", "failed", "unreachable", "changed", "msg", "verdict", "holder"]


def read(recovery: Any, probe: Any, *, allowed: Any = True) -> assessment.Finding:
    return assessment.read(CASE, {"allowed": allowed}, RecoveryResult.read(recovery), ProbeResult.read(probe))


def test_a_recovery_that_a_second_look_confirms() -> None:
    step = {"status": "changed", "note": msg("Restarted"), "ended_at": "2026-01-05T12:00:09+00:00"}
    diagnosis = {"alert": "offline", "severity": "critical", "scenario": "stopped", "reasons": [], "proposals": []}
    looked = {"status": "changed", "ended_at": "2026-01-05T12:00:01+00:00"}
    recovery = {"outcome": "recovered", "changed": True, "diagnosis": diagnosis}
    found = read({**recovery, "steps": {"restart": step, "evidence": looked}}, WELL)
    assert (found.symptom, found.recovery, found.scenario) == ("healthy", "recovered", "stopped")
    assert [plain(one["args"]["note"]) for one in found.tried] == ["Restarted"]
    assert found.acted_at == epoch(found.steps[0]["at"])
    assert set(found.facts()) == {"scenario", "reasons", "proposals", "tried", "found_bad"}


@pytest.mark.parametrize("allowed", [False, None, 0, ""])
def test_what_was_not_let_through_recovered_nothing(allowed: Any) -> None:
    assert read({"outcome": "recovered", "changed": True}, WELL, allowed=allowed).recovery is None


@given(
    st.dictionaries(st.sampled_from(KEYS), WILD) | WILD,
    st.dictionaries(st.sampled_from([*KEYS, "failure"]), WILD) | WILD,
)
def test_anything_at_all_comes_to_something(recovery: Any, probe: Any) -> None:
    found = read(recovery, probe)
    assert found.symptom in {"healthy", "broken", "unreachable", "unknown"}
    assert found.recovery in {"recovered", "failed", "nothing"}
    assert isinstance(found.alert, str)
