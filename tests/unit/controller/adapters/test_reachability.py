"""Why a host can't be reached, told apart by what SSH says; and what a triage makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core.messages import plain
from orquestrador_ops.adapters import emergency as emergencies
from orquestrador_ops.adapters import probe as observation
from orquestrador_ops.adapters import reachability

CHANGED = """Failed to connect to the host via ssh: @@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
Host key verification failed."""
SAID = {
    "ssh: Could not resolve hostname web-9: Name or service not known": "name",
    CHANGED: "host_key",
    "ssh: connect to host 127.0.0.1 port 9: Connection refused": "refused",
    "Connection timed out during banner exchange": "timeout",
    "ssh: connect to host 192.0.2.1 port 22: Connection timed out": "timeout",
    "ssh: connect to host 192.0.2.1 port 22: No route to host": "no_route",
    "flavio@127.0.0.1: Permission denied (publickey).": "denied",
    "kex_exchange_identification: Connection closed by remote host": "broken",
    "something else": "other",
    "": "other",
}


@pytest.mark.parametrize("said", SAID)
def test_what_ssh_says_is_told_apart(said: str) -> None:
    assert reachability.classify(said) == SAID[said]


def test_the_line_that_says_why_is_shown() -> None:
    assert "IDENTIFICATION HAS CHANGED" in reachability.relevant_line(CHANGED)
    wordy = "Data could not be sent to remote host. Make sure it can be reached over ssh: ssh: x: Connection refused"
    assert reachability.relevant_line(wordy) == "ssh: x: Connection refused"


@given(st.text())
def test_anything_said_is_explained(said: str) -> None:
    told = plain(reachability.explain("web-01", said, reachability.relevant_line(said) or "?"))
    assert told.startswith("web-01 cannot be reached over SSH: ")


def triaged(**result: Any) -> dict[str, Any]:
    return emergencies.triage_result(result, host="web-01", started=observation.utc_now())


def case(alert: str) -> dict[str, Any]:
    return {"alert": alert, "scenario": "x", "severity": "y", "level": None, "reasons": [], "proposals": []}


def seen(alert: str) -> dict[str, Any]:
    before = {"snapshot": {"files": None}, "verdict": {"checks": []}}
    return triaged(changed=False, outcome="refused", before=before, diagnosis=case(alert))


def test_a_triage_names_the_procedure_and_its_command() -> None:
    told = seen("database")
    assert told["recover"] == {"procedure": "database", "budget_s": 180}
    assert told["status"] == "failed"
    assert "outcome" not in told
    assert plain(told["note"][-1]).endswith("playbooks/emergency/database.yml -e target=web-01")


def test_a_triage_without_an_alert_is_well() -> None:
    told = seen("none")
    assert (told["recover"], told["status"]) == (None, "ok")


def test_an_unreachable_host_is_offline_for_who_has_to_know() -> None:
    told = triaged(unreachable=True, msg="ssh: connect to host web-01 port 22: Connection refused")
    assert (told["outcome"], told["unreachable_by"]) == ("unreachable", "refused")
    assert told["recover"]["procedure"] == "offline"
    assert told["snapshot"] is None


def test_a_module_that_broke_is_no_diagnosis() -> None:
    told = triaged(failed=True, msg="MODULE FAILURE", module_stderr="sudo: a password is required", rc=1)
    assert told["outcome"] == "error"
    assert told["status"] == "failed"


def test_arguments_that_do_not_fit_stay_the_inventorys_mistake() -> None:
    assert triaged(failed=True, msg="missing required arguments: app_port")["failed"]
