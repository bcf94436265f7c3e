"""Breaker, incidents and escalation, told to a real mail server and a real webhook."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from machine import APP, USER, WEBAPP, Machine, Run, Runner
from receivers import Mailbox, Webhook

PLAYBOOK = "molecule/shared/tests/monitoring/escalation.yml"
DUE = "molecule/shared/tests/monitoring/due.yml"
OFFLINE = "playbooks/emergency/offline.yml"
MAINTENANCE = "playbooks/operation/maintenance.yml"
NO_PROXY = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
LEVELS = [
    {"level": "L1", "name": "Monitoring", "respond_within_s": 0, "channels": []},
    {"level": "L2", "name": "Operator", "respond_within_s": 900, "channels": ["operator"]},
    {"level": "L3", "name": "Developer", "respond_within_s": 3600, "channels": ["developer"]},
    {"level": "L4", "name": "Architect", "respond_within_s": 14400, "channels": ["architect"]},
]
CHECKS = [{"id": "http.status", "status": "critical"}]
BROKEN = {"verdict": {"overall": "critical", "procedure": "offline", "checks": CHECKS, "reasons": []}}
WELL = {"verdict": {"overall": "healthy", "procedure": "none", "checks": [], "reasons": []}}
UNREACHABLE = {"outcome": "unreachable", "failure": {"text": "{host} can't be reached", "args": {"host": "x"}}}


def emergency(outcome: str = "failed", scenario: str = "stopped", **more: Any) -> dict[str, Any]:
    return {
        "changed": outcome != "healthy",
        "outcome": outcome,
        "diagnosis": {
            "alert": "offline",
            "severity": "critical",
            "scenario": scenario,
            "reasons": [{"text": "Error: {line}", "args": {"line": "password=hunter2secret | `rm` <b>"}}],
            "proposals": [{"text": "Check {check} is critical", "args": {"check": "http.status"}}],
            "level": None,
        },
        "steps": {
            "reload": {"status": "failed", "changed": True, "note": {"text": "Check {check} is critical", "args": {}}}
        },
        "over_budget": False,
        "failures": [],
        **more,
    }


@dataclass
class Office:
    """Who is told: the operator by mail; developer and architect by mail and webhook."""

    run_clean: Runner
    state: Path
    mailbox: Mailbox
    webhook: Webhook
    token: str = field(default_factory=lambda: f"token{secrets.token_hex(12)}")
    levels: list[dict[str, Any]] = field(default_factory=lambda: json.loads(json.dumps(LEVELS)))
    configured: bool = True

    def channels(self) -> dict[str, Any]:
        if not self.configured:
            return {}
        return {
            "operator": self.mailbox.address("operator"),
            "developer": [self.mailbox.address("developer"), self.webhook.address(self.token)],
            "architect": self.mailbox.address("architect"),
        }

    def play(
        self, acted: dict[str, Any] | None, seen: dict[str, Any], *args: str, check: bool = False
    ) -> tuple[Run, dict[str, Any], dict[str, Any]]:
        """Run gate and settlement around these results; what was registered."""
        made_up = {name: value for name, value in (("emergency", acted), ("health", seen)) if value is not None}
        result, given = self.state / "registered", self.state.parent / "given.json"
        result.unlink(missing_ok=True)
        # Beside the state, in which no address may be found.
        given.write_text(
            json.dumps(
                {
                    "made_up": made_up,
                    "escalation_matrix": self.levels,
                    "escalation_channels": self.channels(),
                    "entry_result": str(result),
                    "ops_locale": "en",
                }
            )
        )
        options = ["--check"] if check else []
        run = self.run_clean(
            PLAYBOOK,
            "-vvv",
            "-e",
            f"@{given}",
            *options,
            *args,
            state=self.state,
            env=NO_PROXY,
        )
        assert result.exists(), run.output
        kept = json.loads(result.read_text())
        for place in [
            run.output,
            *(path.read_text(errors="replace") for path in self.state.rglob("*") if path.is_file()),
        ]:
            assert self.token not in place
            assert str(self.mailbox.port) not in place
        return run, kept["gate"], kept["settled"]

    def sql(self, statement: str) -> list[Any]:
        connection = sqlite3.connect(self.state / "history.sqlite3")
        try:
            rows = connection.execute(statement).fetchall()
            connection.commit()
        finally:
            connection.close()
        return rows


@pytest.fixture
def office(run_clean: Runner, state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    mailbox, webhook = Mailbox(), Webhook()
    yield Office(run_clean, state, mailbox, webhook)
    mailbox.close()
    webhook.close()


def test_three_broken_recoveries_open_the_breaker_and_tell_the_developer_once(office: Office) -> None:
    for number in (1, 2, 3):
        _, gate, settled = office.play(emergency(), BROKEN)
        assert gate["allowed"], gate
        assert settled["recovery"] == "failed"
        assert len(office.mailbox.to("operator")) == 1
        assert len(office.mailbox.to("developer")) == len(office.webhook.at(office.token)) == (number == 3)
    _, gate, settled = office.play(emergency(), BROKEN)
    assert (gate["allowed"], gate["breaker"]["state"]) == (False, "open")
    assert "The circuit breaker of {procedure} is open" in gate["reason"]["text"]
    assert (settled["recovery"], settled["level"]) == (None, "L3")
    assert len(office.mailbox.to("developer")) == len(office.webhook.at(office.token)) == 1
    assert len(office.mailbox.mails) == 2
    # The message has what is needed, and the secret of a log line is not in it.
    (call,) = office.webhook.at(office.token)
    for part in (
        "incident 1, level L3",
        "Evidence",
        "What was tried",
        "What is proposed",
        "runbook ack 1",
        "password=***",
    ):
        assert part in call["title"] + call["message"], part
    assert "hunter2secret" not in json.dumps(call)
    assert office.sql("SELECT count(*), sum(outcome = 'failed') FROM recoveries") == [(3, 3)]
    # One by hand closes it.
    _, gate, settled = office.play(emergency("recovered"), WELL, "-e", "close_breaker=true")
    assert (gate["allowed"], settled["recovery"], settled["closed"]) == (True, "recovered", [1])
    recovered = office.webhook.at(office.token)[1]
    assert recovered["title"].startswith("[RECOVERED]")
    assert len(office.mailbox.to("operator")) == 2
    (path,) = settled["postmortems"]
    text = Path(path).read_text()
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert r"password=\*\*\* \| \`rm\` \<b\>" in text
    assert "## Action items" in text


def test_controllers_killed_in_the_middle_open_it_too(office: Office) -> None:
    for _ in range(3):
        _, gate, _ = office.play(None, BROKEN, "-e", "killed=true")
        assert gate["allowed"]
    _, gate, settled = office.play(emergency(), BROKEN)
    assert not gate["allowed"]
    assert settled["level"] == "L3"
    assert len(office.webhook.at(office.token)) == 1


def test_nobody_answers_and_then_somebody_does(office: Office) -> None:
    for level in office.levels:
        level["respond_within_s"] = 0.5
    office.play(emergency(), BROKEN)
    # As a watcher does it, without anything new having happened.
    run = office.run_clean(DUE, "-e", f"@{office.state.parent / 'given.json'}", state=office.state, env=NO_PROXY)
    assert run.rc == 0, run.output
    assert [len(office.mailbox.to(who)) for who in ("operator", "developer", "architect")] == [1, 1, 0]
    office.sql("UPDATE incidents SET acknowledged_at = 1, acknowledged_by = 'ana'")
    _, _, settled = office.play(None, BROKEN, "-e", "emergency_automatic=true")
    assert settled["level"] == "L3"
    assert [len(office.mailbox.to(who)) for who in ("operator", "developer", "architect")] == [1, 1, 0]


def test_a_channel_that_is_down_is_reported_and_tried_again(office: Office) -> None:
    office.webhook.down = True
    run, _, settled = office.play(emergency(scenario="crash_loop"), BROKEN)
    assert run.rc == 0
    assert (settled["status"], settled["level"]) == ("warn", "L3")
    assert settled["failed_channels"] == ["json:developer#2"]
    assert office.webhook.refused == 1
    assert '"args": {"status": 503}' in json.dumps(settled["note"])
    office.webhook.down = False
    _, _, settled = office.play(emergency(scenario="crash_loop"), BROKEN)
    assert settled["told"] == ["json:developer#2"]
    assert len(office.mailbox.to("developer")) == len(office.webhook.at(office.token)) == 1
    outcomes = office.sql("SELECT channel, outcome FROM notifications ORDER BY id")
    assert outcomes == [("mailto:developer", "sent"), ("json:developer#2", "failed"), ("json:developer#2", "sent")]


def test_no_channels_is_said_and_fails_nothing(office: Office) -> None:
    office.configured = False
    run, _, settled = office.play(emergency(), BROKEN)
    assert run.rc == 0
    assert "no channels are configured" in run.output
    assert settled["incident_id"] == 1


@pytest.mark.parametrize("readable", [True, False])
def test_channels_come_from_vault_and_what_it_does_not_give_fails_nothing(
    office: Office, machine: Machine, readable: bool
) -> None:
    password = (machine.state / "vault-password").read_bytes().strip()
    key = VaultSecret(password if readable else secrets.token_hex(8).encode())
    sealed = VaultLib([("default", key)]).encrypt(office.mailbox.address("operator")).decode()
    lines = "".join(f"    {line}\n" for line in sealed.splitlines())
    given = office.state.parent / "channels.yml"
    given.write_text(f"escalation_channels:\n  operator: !vault |\n{lines}")
    run, _, settled = office.play(emergency(), BROKEN, "-e", f"@{given}")
    assert run.rc == 0
    assert settled["incident_id"] == 1
    assert ("escalation_channels can't be read" in json.dumps(settled["note"])) is not readable
    assert len(office.mailbox.to("operator")) == int(readable)


def test_a_healthy_host_is_no_recovery_and_no_incident(office: Office) -> None:
    for _ in range(4):
        _, gate, settled = office.play(emergency("healthy", scenario=""), WELL)
        assert gate["allowed"]
        assert (settled["recovery"], settled["incident_id"]) == ("nothing", None)
    assert office.mailbox.mails == []
    assert office.sql("SELECT count(*) FROM incidents") == [(0,)]


def test_an_unreachable_host_is_escalated_from_here(office: Office) -> None:
    _, _, settled = office.play({"unreachable": True, "msg": "Connection refused"}, UNREACHABLE)
    assert (settled["symptom"], settled["alert"], settled["recovery"]) == ("unreachable", "offline", "nothing")
    assert len(office.mailbox.to("operator")) == 1


def test_check_mode_writes_and_sends_nothing(office: Office) -> None:
    _, gate, settled = office.play(emergency(), BROKEN, check=True)
    assert gate["allowed"]
    assert "Would open an incident" in settled["note"][0]["text"]
    assert office.mailbox.mails == []
    assert office.sql("SELECT (SELECT count(*) FROM incidents) + (SELECT count(*) FROM recoveries)") == [(0,)]


def test_maintenance_keeps_the_watcher_off_and_stops_nobody_by_hand(
    office: Office, run_clean: Runner, machine: Machine, state: Path
) -> None:
    before = machine.fingerprint()

    def window(*args: str) -> Run:
        return run_clean(MAINTENANCE, "-e", "ops_locale=en", *args, state=state)

    assert "needs a reason" in window("-e", "maintenance=open", "-e", "until=+2h").output
    for end in ("+30h", "soon"):
        refused = window("-e", "maintenance=open", "-e", "reason=works", "-e", f"until={end}")
        assert refused.rc != 0, end
        assert refused.steps["maintenance"] == "failed"
    assert window("-e", "maintenance=open", "-e", "reason=works", "-e", "until=+2h", "--check").rc == 0
    assert office.sql("SELECT count(*) FROM maintenance_windows") == [(0,)]
    assert window("-e", "maintenance=open", "-e", "reason=works", "-e", "until=+2h").rc == 0
    assert "works" in window().output
    _, gate, settled = office.play(emergency(), BROKEN, "-e", "emergency_automatic=true")
    assert (gate["allowed"], gate["maintenance"]["reason"]) == (False, "works")
    assert settled["incident_id"] is None
    _, gate, settled = office.play(emergency(), BROKEN)
    assert gate["allowed"]
    assert settled["incident_id"] == 1
    assert office.mailbox.mails == []
    assert window("-e", "maintenance=close").rc == 0
    _, gate, _ = office.play(emergency(), BROKEN, "-e", "emergency_automatic=true")
    assert gate["allowed"]
    assert len(office.mailbox.to("operator")) == 1
    assert machine.fingerprint() == before


def test_a_broken_build_through_the_procedure_itself(office: Office, run_clean: Runner, machine: Machine) -> None:
    """Nothing made up: a build that never listens, recoveries that can't help, a breaker, and a person who can."""
    given = office.state.parent / "given.json"
    # Short, so that a ladder which can't help is left early.
    given.write_text(json.dumps({"escalation_channels": office.channels(), "report_budget_s": 17, "ops_locale": "en"}))

    def offline(*args: str) -> Run:
        return run_clean(OFFLINE, "-e", f"@{given}", *args, state=office.state, env=NO_PROXY)

    machine.settle()
    index = f"{WEBAPP}/dist/server/index.js"
    machine.out(f"cp -p {index} {index}.kept", user=USER)
    try:
        machine.app(f"echo 'setInterval(Date.now, 60000)' > dist/server/index.js; pm2 restart {APP} >/dev/null")
        machine.wait("nobody to answer", lambda: not machine.health())
        for _ in range(3):
            run = offline("-e", "emergency_automatic=true")
            assert run.rc != 0
            assert run.steps["escalation"] == "changed"
        restarts = machine.app("pm2 jlist | tr ',' '\\n' | grep -m 1 restart_time")
        refused = offline()
        assert (refused.steps["gate"], refused.changed) == ("warn", 0)
        assert len(office.mailbox.to("operator")) <= 1
        assert len(office.mailbox.to("developer")) == len(office.webhook.at(office.token)) == 1
    finally:
        machine.out(f"mv {index}.kept {index}", user=USER)
    assert machine.app("pm2 jlist | tr ',' '\\n' | grep -m 1 restart_time") == restarts
    healed = offline("-e", "close_breaker=true")
    assert healed.rc == 0, healed.output
    assert machine.health().get("database") == "connected"
    assert office.webhook.at(office.token)[-1]["title"].startswith("[RECOVERED]")
    machine.settle()
