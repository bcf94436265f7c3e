"""What a cycle of the watch makes of what it saw."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.app import health_endpoint as http_health
from orquestrador.core.messages import plain
from orquestrador_ops.adapters import watching
from orquestrador_ops.core.host_results import ProbeResult
from orquestrador_ops.watch import decisions as watch

Verdict = Callable[..., dict[str, Any]]
GOOD = {"ok": True, "url": "http://app", "status": 200}
BAD = {"ok": False, "url": "http://app", "status": 502, "reason": None}
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def looked(verdict: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    return {"verdict": verdict, **more}


def trouble(result: dict[str, Any], public: dict[str, Any] | None) -> str | None:
    return watch.classify(ProbeResult.read(result), public)


@pytest.mark.parametrize(
    ("overall", "procedure", "statuses", "public", "expected"),
    [
        ("healthy", "none", {}, GOOD, None),
        ("healthy", "none", {}, None, None),
        ("degraded", "none", {"logs_errors": "warn"}, GOOD, None),
        ("critical", "none", {"logs_errors": "critical"}, GOOD, None),
        ("critical", "none", {"host_memory": "critical"}, GOOD, watch.CAPACITY),
        ("critical", "offline", {"http_status": "critical"}, BAD, watch.FAILING),
        ("critical", "offline", {"http_status": "critical", "host_disk": "critical"}, GOOD, watch.FAILING),
        ("unknown", "none", {"mysql_reachable": "unknown"}, GOOD, watch.UNSEEN),
        ("unknown", "none", {"mysql_reachable": "unknown"}, BAD, watch.UNSEEN),
        ("healthy", "none", {}, BAD, watch.OUTSIDE),
        ("degraded", "none", {}, BAD, watch.OUTSIDE),
    ],
)
def test_trouble(
    make_verdict: Verdict,
    overall: str,
    procedure: str,
    statuses: dict[str, str],
    public: dict[str, Any] | None,
    expected: str | None,
) -> None:
    assert trouble(looked(make_verdict(overall, procedure, **statuses)), public) == expected


def test_trouble_without_a_verdict() -> None:
    assert trouble({"outcome": "unreachable", "verdict": None}, GOOD) == watch.UNREACHABLE
    assert trouble({"outcome": "error", "verdict": None}, BAD) == watch.UNSEEN
    assert trouble({}, None) == watch.UNSEEN


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (None, ["unreachable"], 0),
        ("unreachable", [], 1),
        ("unreachable", ["unreachable", "unreachable"], 3),
        ("unreachable", [None, "unreachable"], 1),
        ("unreachable", ["unknown", "unreachable"], 1),
        ("outside", ["outside", None, "outside"], 2),
    ],
)
def test_streak(now: str | None, before: list[str | None], expected: int) -> None:
    assert watch.consecutive_cycles(now, before) == expected


def decided(seen: Any, **more: Any) -> dict[str, Any]:
    return watch.decide(
        watch.HostObservation.read(seen), **{"cycles": 1, "patience": 3, "incident": False, "maintenance": None, **more}
    )


def test_only_a_confirmed_failure_is_acted_upon(make_verdict: Verdict) -> None:
    failing = looked(make_verdict("critical", "database"), trouble=watch.FAILING)
    one = decided(failing)
    assert (one["kind"], one["procedure"]) == (watch.RECOVER, "database")
    assert [decided(failing, cycles=n)["waits"] for n in (1, 2, 3, 4)] == [True, True, False, False]
    window = {"ends_at": "2026-11-22T13:00:00+00:00"}
    assert decided(failing, maintenance=window)["kind"] == watch.NONE
    for overall in ("healthy", "degraded", "unknown", "critical"):
        assert decided(looked(make_verdict(overall), trouble=None))["kind"] == watch.NONE


@pytest.mark.parametrize("trouble", [watch.UNREACHABLE, watch.UNSEEN, watch.OUTSIDE, watch.CAPACITY])
def test_what_nobody_treats_is_told_when_it_lasts(make_verdict: Verdict, trouble: str) -> None:
    seen = looked(make_verdict("unknown"), trouble=trouble)
    assert [decided(seen, cycles=n)["kind"] for n in (1, 2, 3, 4)] == ["none", "none", "tell", "tell"]
    assert decided(seen, cycles=9, maintenance={"ends_at": None})["kind"] == watch.NONE
    one = decided(seen, cycles=3)
    finding = watch.finding(watch.HostObservation.read(seen), one)
    assert finding["outcome"] == "failed"
    assert finding["diagnosis"]["scenario"] == trouble
    assert finding["diagnosis"]["level"] in ("L2", "L4")
    assert finding["diagnosis"]["proposals"]


def test_incident_of_a_host_that_is_well_again_is_settled(make_verdict: Verdict) -> None:
    for overall, kind in (("healthy", "settle"), ("degraded", "settle"), ("critical", "none"), ("unknown", "none")):
        assert decided(looked(make_verdict(overall), trouble=None), incident=True)["kind"] == kind
    broken = looked(make_verdict("critical", "offline"), trouble=watch.FAILING)
    assert decided(broken, incident=True)["kind"] == watch.RECOVER


def test_who_gets_a_line(make_verdict: Verdict) -> None:
    assert not watch.is_notable(decided(looked(make_verdict("healthy"), trouble=None)))
    assert watch.is_notable(decided(looked(make_verdict("degraded"), trouble=None)))
    blip = decided(looked(make_verdict("healthy"), trouble=None, blip=[{"text": "It was away", "args": {}}]))
    assert watch.is_notable(blip)
    assert [plain(one) for one in blip["reasons"]] == ["It was away"]


def test_what_is_seen_from_outside_counts_as_one_look(make_verdict: Verdict) -> None:
    seen = {"trouble": watch.OUTSIDE, "verdict": make_verdict("healthy"), "public": BAD}
    assert watch.merge_probes(seen)["verdict"]["overall"] == "critical"
    assert seen["verdict"]["overall"] == "healthy", "the sample of the host says what the host said"
    assert (
        plain(watch.reasons(watch.HostObservation.read(seen))[0])
        == "Reachable inside, not outside: http://app answers with HTTP 502"
    )
    unreachable = {"trouble": watch.UNREACHABLE, "verdict": None}
    assert watch.merge_probes(unreachable) == unreachable


@pytest.mark.parametrize(
    ("kind", "variables", "expected"),
    [
        ("settle", {}, "settled"),
        ("tell", {"emergency_result": {"outcome": "failed"}}, "told"),
        ("recover", {"emergency_gate": {"allowed": False, "maintenance": {"id": 1}}}, "held"),
        ("recover", {"emergency_gate": {"allowed": False, "maintenance": None}}, "breaker"),
        ("recover", {"emergency_gate": {"allowed": True}, "emergency_result": {"outcome": "recovered"}}, "recovered"),
        ("recover", {"emergency_gate": {"allowed": True}, "emergency_result": {"outcome": "healthy"}}, "nothing"),
        ("recover", {"emergency_gate": {"allowed": True}, "emergency_result": {"outcome": "refused"}}, "refused"),
        ("recover", {"emergency_result": {"outcome": "refused", "diagnosis": {"alert": "offline"}}}, "refused"),
        ("recover", {"emergency_result": {"outcome": "refused", "diagnosis": {"alert": "database"}}}, "other"),
        ("recover", {"emergency_gate": {"allowed": True}, "emergency_result": {"unreachable": True}}, "unreachable"),
        ("recover", {"emergency_gate": {"allowed": True}, "emergency_result": {"failed": True, "msg": "x"}}, "failed"),
        ("recover", {}, "failed"),
    ],
)
def test_how_it_ended(kind: str, variables: dict[str, Any], expected: str) -> None:
    assert watching.outcome_of({"kind": kind, "procedure": "offline"}, variables) == expected
    assert expected in watch.NOT_WELL or expected in ("settled", "held", "recovered", "nothing")


@pytest.mark.parametrize(
    ("due", "late_s"),
    [
        (None, 0.0),
        ("", 0.0),
        (NOW.isoformat(), 0.0),
        ((NOW - timedelta(seconds=90)).isoformat(), 90.0),
        ((NOW + timedelta(seconds=90)).isoformat(), 0.0),
        ("2026-11-22T08:59:00-03:00", 60.0),
        (str(NOW.timestamp() - 5), 5.0),
    ],
)
def test_lateness(due: object, late_s: float) -> None:
    assert watch.lateness_s(due, NOW) == pytest.approx(late_s)


def test_due_that_is_no_time_is_named() -> None:
    with pytest.raises(ValueError, match="watch_due is 'soon'"):
        watch.lateness_s("soon", NOW)


KEYS = st.sampled_from(
    [
        "snapshot",
        "verdict",
        "checks",
        "reasons",
        "first_look",
        "public",
        "blip",
        "pm2",
        "app",
        "http",
        "logs",
        "failed",
        "msg",
        "outcome",
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)
)


@given(ANYTHING)
def test_essence_takes_whatever_a_probe_gave(value: Any) -> None:
    result = value if isinstance(value, dict) else {"snapshot": value}
    found = watch.summarize_probe(ProbeResult.read(result))
    assert set(found) == {"snapshot", "verdict", "outcome", "failure"}
    if found["verdict"] is None:
        assert trouble(found, None) in (watch.UNSEEN, watch.UNREACHABLE)
    decided(value)


def test_watches_differ_by_inventory_and_hosts() -> None:
    keys = {
        watch.key_of(["inv"], ["a", "b"]),
        watch.key_of(["inv"], ["b", "a"]),
        watch.key_of(["inv"], ["a"]),
        watch.key_of(["other"], ["a", "b"]),
    }
    assert len(keys) == 3, "the order makes no difference"


@pytest.mark.parametrize(
    ("reply", "ok"),
    [
        (http_health.Reply(200, None, b'{"status":"ok"}', False, 5.0, None), True),
        (http_health.Reply(204, None, b"", False, 5.0, None), True),
        (http_health.Reply(502, None, b"<html>", False, 5.0, None), False),
        (http_health.Reply(302, "/login", b"", False, 5.0, None), False),
        (http_health.Reply(None, None, b"", False, 5.0, "refused"), False),
    ],
)
def test_public_address(monkeypatch: pytest.MonkeyPatch, reply: http_health.Reply, ok: bool) -> None:
    class Asked:
        @staticmethod
        def collect(url: str, **limits: Any) -> Any:
            return http_health.collect(url, **limits, ask=lambda parts, deadline: reply)

    found = watch.probe_public_url(Asked, "https://user:secret@app.example/api/health?token=secret", 1.0)
    assert found["ok"] is ok
    assert "secret" not in str(found)
    assert "secret" not in str(watch.unanswered_reply("https://user:secret@app.example/x?token=secret"))
