"""Error budgets that burn: one incident for each, told once by the matrix, closed when it is over, whatever else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orquestrador_ops.core.host_results import ProbeResult, RecoveryResult
from orquestrador_ops.core.i18n import translator
from orquestrador_ops.core.settings import Settings
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.store import History
from orquestrador_ops.incidents import maintenance, notify, settlement
from orquestrador_ops.incidents import store as incidents
from orquestrador_ops.incidents.breaker import Limits
from orquestrador_ops.incidents.escalation import Desk
from orquestrador_ops.incidents.matrix import plan_of
from orquestrador_ops.sla import alerts
from orquestrador_ops.watch import store as watch_store

ROOT = Path(__file__).resolve().parents[4]
DEFAULTS = yaml.safe_load((ROOT / "roles/escalation/defaults/main.yml").read_text())
NOW = 1_780_000_000.0
NAMES = {"page-fast": "page", "page-slow": "page", "ticket-fast": "ticket", "ticket-slow": "ticket"}


def rates(*firing: str) -> list[dict[str, Any]]:
    """Burn rates as they are evaluated, of which those fire."""
    return [
        {
            "name": name,
            "severity": severity,
            "long_s": 3600.0,
            "short_s": 300.0,
            "factor": 14.4,
            "long_burn": 100.0 if name in firing else 0.0,
            "short_burn": 200.0 if name in firing else 0.0,
            "total_long": 60,
            "total_short": 5,
            "bad_long": 6 if name in firing else 0,
            "bad_short": 3 if name in firing else 0,
            "firing": name in firing,
        }
        for name, severity in NAMES.items()
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[History]:
    with open_history(tmp_path) as opened:
        yield opened


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Titles of what was told, instead of telling it."""
    titles: list[str] = []

    def deliver(targets: dict[str, str], title: str, body: str, **_: Any) -> dict[str, None]:
        titles.append(title)
        return dict.fromkeys(targets)

    monkeypatch.setattr(notify, "deliver", deliver)
    return titles


def desk(store: History, now: float = NOW) -> Desk:
    channels = {"operator": ["json://127.0.0.1:1"], "developer": ["json://127.0.0.1:1"]}
    plan = plan_of(DEFAULTS["escalation_matrix"], DEFAULTS["escalation_rules"], lambda: channels)
    return Desk(store, plan, translator("en", "UTC"), now)


def test_it_is_opened_once_told_once_and_closed_when_it_is_over(store: History, sent: list[str]) -> None:
    first = alerts.settle(desk(store), "web-01", rates("page-fast"), {})
    again = alerts.settle(desk(store, NOW + 300), "web-01", rates("page-fast"), first.state)
    held = incidents.listed(store)
    assert [(one["alert"], one["severity"], one["level"]) for one in held] == [("sla:page-fast", "high", "L2")]
    assert (first.opened, again.opened) == ([held[0]["id"]], [])
    assert len(sent) == 1
    assert sent[0].startswith("[HIGH] web-01: the error budget burns fast")
    over = alerts.settle(desk(store, NOW + 900), "web-01", rates(), again.state)
    assert over.closed == [held[0]["id"]]
    assert incidents.listed(store) == []
    assert len(sent) == 2
    assert sent[1].startswith("[RECOVERED] web-01")
    assert alerts.settle(desk(store, NOW + 1200), "web-01", rates(), over.state).notes == []


def test_a_ticket_goes_to_no_further_level_by_itself(store: History, sent: list[str]) -> None:
    alerts.settle(desk(store), "web-01", rates("ticket-slow", "page-slow"), {})
    held = {one["alert"]: one for one in incidents.listed(store)}
    assert held["sla:ticket-slow"]["severity"] == "medium"
    assert held["sla:ticket-slow"]["next_at"] is None
    assert held["sla:page-slow"]["next_at"] is not None
    assert len(sent) == 2


def test_a_host_that_is_well_ends_no_burn_and_the_watch_is_not_kept_busy(
    store: History, sent: list[str], tmp_path: Path
) -> None:
    alerts.settle(desk(store), "web-01", rates("page-fast"), {})
    assert watch_store.open_incidents(store) == set()
    case = settlement.Case("web-01", "offline", "run-1", "ana", False, Limits(), NOW + 60, started_at=NOW)
    well = ProbeResult.read({"verdict": {"overall": "healthy", "procedure": "none"}})
    kept = Settings(tmp_path, None, "en", "UTC")
    here, none = desk(store, NOW + 60), RecoveryResult()
    done = settlement.settle(here, case, kept, gate={"allowed": True}, recovery=none, probe=well)
    assert done.closed == []
    assert len(incidents.listed(store)) == 1


def test_silence_is_no_recovery(store: History, sent: list[str]) -> None:
    first = alerts.settle(desk(store), "web-01", rates("page-fast"), {})
    silent = [{**rate, "long_burn": None, "short_burn": None, "firing": False} for rate in rates()]
    again = alerts.settle(desk(store, NOW + 300), "web-01", silent, first.state)
    assert (again.opened, again.closed, len(incidents.listed(store)), len(sent)) == ([], [], 1, 1)


def test_nobody_is_told_during_maintenance(store: History, sent: list[str]) -> None:
    maintenance.begin(store, host="web-01", reason="kernel", ends_at=NOW + 600, operator="ana", max_h=24, now=NOW - 60)
    alerts.settle(desk(store), "web-01", rates("page-fast"), {})
    assert len(incidents.listed(store)) == 1
    assert sent == []


def test_check_mode_says_what_would_be_and_writes_nothing(store: History, sent: list[str]) -> None:
    said = [translator("en", "UTC").message(one) for one in alerts.would(store, "web-01", rates("page-fast"), {})]
    assert said == ["Would open an incident: the error budget burns fast (one hour)"]
    assert incidents.listed(store) == []
    opened = alerts.settle(desk(store), "web-01", rates("page-fast"), {}).opened
    said = [translator("en", "UTC").message(one) for one in alerts.would(store, "web-01", rates(), {"page-fast": True})]
    assert said == [f"Would close incident {opened[0]}"]
    assert len(incidents.listed(store)) == 1
