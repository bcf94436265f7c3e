"""The gate before an emergency and the settlement after it, with whatever results there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core.messages import msg
from orquestrador_ops.adapters import arguments as cases
from orquestrador_ops.core.host_results import ProbeResult, RecoveryResult
from orquestrador_ops.core.i18n import translator
from orquestrador_ops.core.settings import Settings
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.store import History
from orquestrador_ops.incidents import breaker, maintenance, matrix, notify, settlement
from orquestrador_ops.incidents import store as incidents
from orquestrador_ops.incidents.breaker import BreakerStore, Limits
from orquestrador_ops.incidents.escalation import Desk
from orquestrador_ops.incidents.matrix import plan_of
from orquestrador_ops.incidents.settlement import Case, Finding

ROOT = Path(__file__).resolve().parents[4]
DEFAULTS = yaml.safe_load((ROOT / "roles/escalation/defaults/main.yml").read_text())
NOW = 1_780_000_000.0
ALLOWED, STOPPED = {"allowed": True}, {"allowed": False}
WELL = {"verdict": {"overall": "healthy", "procedure": "none"}}
DEGRADED = {"verdict": {"overall": "degraded", "procedure": "none"}}
UNKNOWN = {"verdict": {"overall": "unknown", "procedure": "none"}}
ANSWERS = [{"id": one, "status": "ok"} for one in ("http.status", "app.status", "app.database")]
BLIND = {"verdict": {"overall": "unknown", "procedure": "none", "checks": [*ANSWERS, {"id": "cpu.app"}]}}
BROKEN = {"verdict": {"overall": "critical", "procedure": "offline", "reasons": [msg("Check {check} is critical")]}}
DISK = {"verdict": {"overall": "critical", "procedure": "none"}}


def critical(*checks: str) -> dict[str, Any]:
    """A verdict that is critical by checks that no procedure treats."""
    listed = [{"id": one, "status": "critical"} for one in checks]
    return {"verdict": {"overall": "critical", "procedure": "none", "checks": listed}}


GONE = {"outcome": "unreachable", "failure": msg("{host} cannot be reached", host="web-01")}


def acted(outcome: str, alert: str = "offline", **more: Any) -> dict[str, Any]:
    diagnosis = {"alert": alert, "severity": "critical", "scenario": "stopped", "reasons": [], "proposals": []}
    steps = {
        "diagnosis": {"status": "ok", "ended_at": "2026-01-05T12:00:00+00:00"},
        "restart": {"status": "warn", "note": msg("no"), "ended_at": "2026-01-05T12:00:09+00:00"},
        "reload": {"status": "changed", "ended_at": "2026-01-05T12:00:05+00:00"},
        "resurrect": {"status": "skipped"},
    }
    return {"changed": True, "outcome": outcome, "diagnosis": diagnosis, "steps": steps, **more}


def case(**changes: Any) -> Case:
    usual = Case("web-01", "offline", "run-1", "ana", False, Limits(), NOW, started_at=NOW - 5)
    return replace(usual, **changes)


def read(gate: Any, emergency: Any, health: Any) -> Finding:
    return settlement.read(case(), gate, RecoveryResult.read(emergency), ProbeResult.read(health))


@pytest.mark.parametrize(
    ("gate", "emergency", "health", "symptom", "recovery", "alert"),
    [
        (ALLOWED, acted("healthy", "none"), WELL, "healthy", "nothing", "offline"),
        (ALLOWED, acted("recovered"), WELL, "healthy", "recovered", "offline"),
        (ALLOWED, acted("recovered"), DEGRADED, "healthy", "recovered", "offline"),
        # The second look has the last word.
        (ALLOWED, acted("recovered"), BROKEN, "broken", "failed", "offline"),
        (ALLOWED, acted("recovered"), UNKNOWN, "unknown", "failed", "offline"),
        (ALLOWED, acted("recovered"), BLIND, "healthy", "recovered", "offline"),
        (ALLOWED, acted("failed"), BLIND, "broken", "failed", "offline"),
        (ALLOWED, acted("failed"), BROKEN, "broken", "failed", "offline"),
        (ALLOWED, acted("failed"), WELL, "healthy", "failed", "offline"),
        (ALLOWED, acted("failed"), DEGRADED, "broken", "failed", "offline"),
        (ALLOWED, acted("failed", "performance"), WELL, "broken", "failed", "performance"),
        (ALLOWED, acted("failed"), DISK, "broken", "failed", "offline"),
        # What tells of the past is no reason to go on: logged errors, and crashes that a procedure saw no more of.
        (ALLOWED, acted("recovered"), critical("logs.errors", "pm2.restarts"), "healthy", "recovered", "offline"),
        (STOPPED, {}, critical("logs.errors"), "healthy", None, "offline"),
        (STOPPED, {}, critical("pm2.restarts"), "broken", None, "offline"),
        (ALLOWED, acted("recovered"), critical("logs.errors", "host.disk"), "broken", "failed", "offline"),
        (ALLOWED, acted("failed"), critical("logs.errors"), "broken", "failed", "offline"),
        (ALLOWED, acted("failed"), GONE, "unreachable", "failed", "offline"),
        (ALLOWED, acted("refused"), BROKEN, "broken", "nothing", "offline"),
        (ALLOWED, acted("refused", "database"), BROKEN, "broken", "nothing", "database"),
        (ALLOWED, {"failed": True, "msg": "boom"}, BROKEN, "broken", "failed", "offline"),
        (ALLOWED, {"unreachable": True}, GONE, "unreachable", "nothing", "offline"),
        (ALLOWED, {"unreachable": True}, BROKEN, "broken", "failed", "offline"),
        (ALLOWED, {}, BROKEN, "broken", "nothing", "offline"),
        (STOPPED, {"skipped": True, "changed": False}, BROKEN, "broken", None, "offline"),
        (STOPPED, {}, WELL, "healthy", None, "offline"),
        (STOPPED, {}, DISK, "broken", None, "offline"),
        ({}, {}, {}, "unknown", None, "offline"),
        ({}, {}, {"unreachable": True, "msg": "x"}, "unreachable", None, "offline"),
    ],
)
def test_what_results_come_to(
    gate: Any, emergency: Any, health: Any, symptom: str, recovery: str | None, alert: str
) -> None:
    found = read(gate, emergency, health)
    assert (found.symptom, found.recovery, found.alert) == (symptom, recovery, alert)


def test_evidence_is_told_once_and_what_is_proposed_is_none() -> None:
    silent, back = msg("Nobody listens"), msg("Go back to the build before: -e rollback=true")
    emergency = {
        "outcome": "failed",
        "failures": [silent, back, silent],
        "diagnosis": {"alert": "offline", "reasons": [msg("A reason")], "proposals": [back]},
    }
    found = read(ALLOWED, emergency, BROKEN)
    assert found.reasons == [msg("A reason"), silent]
    assert found.proposals == [back]


def test_what_was_tried_is_told_in_its_order_and_looking_is_not_trying() -> None:
    found = read(ALLOWED, acted("failed"), BROKEN)
    tr = translator("en", "UTC")
    assert [tr.message(one) for one in found.tried] == [
        "Reload of the application: DONE",
        "Restart of the application: no",
    ]


def leased(outcome: str = "refused", alert: str = "offline") -> dict[str, Any]:
    """A procedure that did not get the lease of its host."""
    holder = {"run_id": "r7", "procedure": "backup", "owner": "bob@two", "expires_at": "2026-01-05T12:04:00Z"}
    why = msg("the lease of this host is held by run {run_id}", run_id="r7")
    step = {"status": "failed", "note": why, "evidence": {"holder": holder}}
    return {**acted(outcome, alert), "changed": False, "steps": {"lease": step}, "failures": [why]}


def test_only_who_has_the_lease_is_a_holder() -> None:
    found = read(ALLOWED, leased(), BROKEN)
    assert found.holder
    assert found.holder["run_id"] == "r7"
    assert read(ALLOWED, acted("refused", "database"), BROKEN).holder is None
    failed = read(ALLOWED, {**leased("failed"), "steps": {"lease": {"status": "failed"}}}, BROKEN)
    assert (failed.holder, failed.recovery) == (None, "nothing")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "args", "restart", "status", "note", "alert"]), inner, max_size=3)
    ),
    max_leaves=8,
)
results = st.dictionaries(
    st.sampled_from(
        ["outcome", "diagnosis", "steps", "failures", "verdict", "failure", "unreachable", "allowed", "msg"]
    ),
    anything,
)


@given(results, results, results)
def test_no_result_is_too_odd_to_be_read(gate: Any, emergency: Any, health: Any) -> None:
    found = read(gate, emergency, health)
    assert found.symptom in ("healthy", "broken", "unreachable", "unknown")
    json.dumps(found.facts())


# -------------------------------------------------------------------- on a store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[History]:
    with open_history(tmp_path) as opened:
        yield opened


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    titles: list[str] = []

    def deliver(addresses: dict[str, str], title: str, body: str, **_: Any) -> dict[str, Any]:
        titles.append(title)
        return dict.fromkeys(addresses)

    monkeypatch.setattr(notify, "deliver", deliver)
    return titles


def go(store: History, tmp_path: Path, here: Case, emergency: Any, health: Any, **options: Any) -> dict[str, Any]:
    """Gate and settlement; the settlement's result with the gate's answer under ``gate``."""
    answer = settlement.gate(store, here, **options)
    channels = {"operator": ["json://o"], "developer": ["json://d"]}
    plan = plan_of(DEFAULTS["escalation_matrix"], DEFAULTS["escalation_rules"], lambda: channels)
    desk = Desk(store, plan, translator("en", "UTC"), here.now, here.run_id)
    kept = Settings(tmp_path, None, "en", "UTC")
    recovery = RecoveryResult.read(emergency if answer["allowed"] else {})
    done = settlement.settle(desk, here, kept, gate=answer, recovery=recovery, probe=ProbeResult.read(health))
    result = done.result()
    json.dumps(result)
    return {**result, "gate": answer}


def test_three_broken_recoveries_and_a_fourth_tell_each_level_once(
    store: History, tmp_path: Path, sent: list[str]
) -> None:
    last = {}
    for number in range(5):
        last = go(store, tmp_path, case(run_id=f"r{number}", now=NOW + number), acted("failed"), BROKEN)
    assert last["gate"]["allowed"] is False
    assert [title.split("level ")[1] for title in sent] == ["L2)", "L3)"]
    (incident,) = incidents.listed(store)
    assert (incident["level"], incident["data"]["found_bad"]) == ("L3", 3)
    # Healthy again, by whoever it was: told to both, once.
    over = go(store, tmp_path, case(run_id="r9", now=NOW + 60), {}, WELL)
    assert (over["closed"], over["status"]) == ([incident["id"]], "changed")
    assert sent[2:] == [f"[RECOVERED] web-01: system offline (incident {incident['id']})"] * 2
    assert go(store, tmp_path, case(run_id="r10", now=NOW + 61), {}, WELL)["closed"] == []


def test_what_healed_itself_is_on_record_and_calls_nobody(store: History, tmp_path: Path, sent: list[str]) -> None:
    done = go(store, tmp_path, case(), acted("recovered"), WELL)
    assert (done["level"], done["closed"], sent) == ("L1", [done["incident_id"]], [])
    text = Path(done["postmortems"][0]).read_text()
    assert "1 / 2" in text
    incident = incidents.get(store, done["incident_id"])
    assert incident
    assert incident["acted_at"] == "2026-01-05T12:00:05+00:00"


def test_the_watcher_stands_back_from_maintenance_and_a_person_does_not(
    store: History, tmp_path: Path, sent: list[str]
) -> None:
    maintenance.begin(store, host="web-01", reason="x", ends_at=NOW + 60, operator="ana", max_h=24, now=NOW)
    watched = go(store, tmp_path, case(automatic=True), acted("failed"), BROKEN)
    assert (watched["gate"]["allowed"], watched["incident_id"]) == (False, None)
    by_hand = go(store, tmp_path, case(run_id="r2"), acted("failed"), BROKEN)
    assert (by_hand["gate"]["allowed"], by_hand["gate"]["status"]) == (True, "ok")
    assert by_hand["incident_id"]
    assert sent == []


def test_an_outage_under_a_lease_is_an_incident_at_once_and_told_when_it_lasts(
    store: History, tmp_path: Path, sent: list[str]
) -> None:
    first = go(store, tmp_path, case(automatic=True, waits=True), leased(), BROKEN)
    (incident,) = incidents.listed(store, host="web-01")
    assert (first["incident_id"], incident["level"], sent) == (incident["id"], None, [])
    said = " ".join(translator("en", "UTC").message(note) for note in first["note"])
    assert "Run r7 (backup, bob@two) has the lease until 2026-01-05 12:04:00" in said
    assert "held by run r7" in str([translator("en", "UTC").message(one) for one in incident["data"]["reasons"]])
    last = go(store, tmp_path, case(automatic=True, run_id="r2", now=NOW + 120), leased(), BROKEN)
    assert (last["incident_id"], last["level"], len(sent)) == (incident["id"], "L2", 1)
    assert BreakerStore(store, "web-01", "offline", Limits(), NOW + 120).look().recoveries == 0
    over = go(store, tmp_path, case(automatic=True, run_id="r3", now=NOW + 180), {}, WELL)
    assert (over["closed"], incidents.listed(store, host="web-01")) == ([incident["id"]], [])


def test_who_meets_a_lease_by_hand_is_on_record_and_told_at_once(
    store: History, tmp_path: Path, sent: list[str]
) -> None:
    done = go(store, tmp_path, case(), leased(), BROKEN)
    assert (bool(done["incident_id"]), done["level"], len(sent)) == (True, "L2", 1)


def test_an_outage_that_ends_with_the_lease_calls_nobody(store: History, tmp_path: Path, sent: list[str]) -> None:
    go(store, tmp_path, case(automatic=True, waits=True), leased(), BROKEN)
    over = go(store, tmp_path, case(automatic=True, run_id="r2", now=NOW + 60), {}, WELL)
    assert (len(over["closed"]), sent) == (1, [])


def test_how_long_it_lasted_is_the_watchs_to_say() -> None:
    arguments = {"procedure": "offline", "automatic": True, "max_recoveries": 3, "window_s": 1, "cooldown_s": 1}
    for waits in (True, False):
        todo = {"web-01": {"waits": waits}}
        variables = {
            "inventory_hostname": "web-01",
            "report_run": {"run": {"run_id": "r"}},
            "watch_seen": {"todo": todo},
        }
        assert cases.recovery_of(variables, arguments, now=NOW, check_mode=False).waits is waits
        by_hand = cases.recovery_of(variables, {**arguments, "automatic": False}, now=NOW, check_mode=False)
        assert by_hand.waits is False


def test_a_postmortem_that_can_not_be_written_is_told_and_fails_nothing(
    store: History, tmp_path: Path, sent: list[str]
) -> None:
    (tmp_path / "reports").write_text("in the way")
    done = go(store, tmp_path, case(), acted("recovered"), WELL)
    assert (done["status"], done["postmortems"]) == ("warn", [])


def test_check_mode_leaves_everything_as_it_is(store: History, tmp_path: Path, sent: list[str]) -> None:
    done = go(store, tmp_path, case(check_mode=True), acted("failed"), BROKEN, close_breaker=True)
    assert done["gate"]["allowed"]
    assert sent == []
    assert incidents.listed(store, closed=True) == []
    assert breaker.not_closed(store, Limits(), NOW) == []
    assert BreakerStore(store, "web-01", "offline", Limits(), NOW).look().recoveries == 0


@pytest.mark.parametrize("automatic", [False, True])
def test_without_a_history_a_person_may_act_and_the_watcher_may_not(automatic: bool) -> None:
    answer = settlement.unrecorded(case(automatic=automatic), "the disk is full")
    assert answer["allowed"] is not automatic
    assert answer["status"] == "warn"


# -------------------------------------------------------------------- Ansible's side

ARGUMENTS = {"procedure": "offline", "automatic": False, "max_recoveries": 3, "window_s": 60.0, "cooldown_s": 60.0}
RUN = {"report_run": {"run": {"run_id": "r", "operator": "ana", "started_at": "2026-01-05T12:00:00+00:00"}}}


@pytest.mark.parametrize(
    ("variables", "changes", "said"),
    [
        ({}, {}, "was not opened"),
        (RUN, {"max_recoveries": 0}, "breaker_max_recoveries is 0"),
        (RUN, {"cooldown_s": -1.0}, "breaker_cooldown_s is -1"),
        (RUN, {"window_s": float("nan")}, "breaker_window_s is nan"),
    ],
)
def test_arguments_out_of_range_are_named(variables: Any, changes: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cases.recovery_of(variables, {**ARGUMENTS, **changes}, now=NOW, check_mode=False)


def test_channels_are_asked_for_when_somebody_is_told_and_what_vault_says_is_kept_back() -> None:
    def template(_: Any) -> Any:
        raise RuntimeError("json://secret of the vault")

    ask = cases.channels({"escalation_channels": "{{ x }}"}, template)
    with pytest.raises(matrix.ChannelsError) as caught:
        ask()
    assert "secret" not in translator("en", "UTC").message(caught.value.message)
    assert cases.channels({}, template)() == {}
