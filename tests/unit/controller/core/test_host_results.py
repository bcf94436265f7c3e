"""What hosts send, read once: whatever it is, what is read of it has its type."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from types import UnionType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.core.host_results import Diagnosis, ProbeResult, RecoveryResult, Verdict

READ = (Diagnosis, ProbeResult, RecoveryResult, Verdict)
NAMES = st.sampled_from(
    [
        *("snapshot", "verdict", "memory", "outcome", "failure", "failures", "failed", "msg", "unreachable", "skipped"),
        *("diagnosis", "steps", "lease", "evidence", "holder", "alert", "level", "severity", "reasons", "checks", "id"),
        *("overall", "procedure", "status", "changed", "over_budget", "started_at", "run_id", "proposals"),
    ]
)
SENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=15,
)


def fits(value: Any, wanted: Any) -> bool:
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Any:
        return True
    if origin is UnionType:
        return any(fits(value, one) for one in inner)
    if origin is list:
        return isinstance(value, list)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(fits(key, inner[0]) and fits(value[key], inner[1]) for key in value)
    return isinstance(value, wanted)


@pytest.mark.parametrize("kind", READ)
@given(sent=SENT)
def test_every_part_has_its_type(kind: Any, sent: Any) -> None:
    found = kind.read(sent)
    wanted = typing.get_type_hints(kind)
    for part in dataclasses.fields(kind):
        assert fits(getattr(found, part.name), wanted[part.name]), part.name
    json.dumps(dataclasses.asdict(found))


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("sent", [None, {}, [], "text", 3])
def test_nothing_is_read_as_what_is_known_without_it(kind: Any, sent: Any) -> None:
    assert kind.read(sent) == kind()


def test_a_verdict_knows_its_checks() -> None:
    checks = [{"id": "a", "status": "ok"}, {"id": "b", "status": "critical"}, None, {"id": "c", "status": "ok"}]
    assert Verdict.read({"checks": checks}).ids("ok") == {"a", "c"}


def test_whoever_holds_the_lease_is_named_only_where_it_was_refused() -> None:
    sent = {"outcome": "refused", "steps": {"lease": {"evidence": {"holder": {"run_id": "r7"}}}}}
    assert RecoveryResult.read(sent).holder == {"run_id": "r7"}
    assert RecoveryResult.read({**sent, "outcome": "failed"}).holder is None
