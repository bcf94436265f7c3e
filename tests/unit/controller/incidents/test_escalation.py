"""Levels, rules, who is told how often, and when an incident goes up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core.messages import msg
from orquestrador_ops.core.i18n import epoch, translator
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.store import History
from orquestrador_ops.incidents import escalation, maintenance, matrix, notify
from orquestrador_ops.incidents import store as incidents
from orquestrador_ops.incidents.escalation import ONGOING, RECOVERED, Desk
from orquestrador_ops.incidents.matrix import ChannelsError, Plan, plan_of
from orquestrador_ops.incidents.message import Wording
from orquestrador_ops.incidents.store import IncidentError

ROOT = Path(__file__).resolve().parents[4]
DEFAULTS = yaml.safe_load((ROOT / "roles/escalation/defaults/main.yml").read_text())
MATRIX, RULES = DEFAULTS["escalation_matrix"], DEFAULTS["escalation_rules"]
CHANNELS = {"operator": ["json://operator"], "developer": ["mailto://developer", "json://x"], "architect": ["json://a"]}
NOW = 1_780_000_000.0
TR = translator("en", "UTC")
HOSTILE = "<script> \x1b[31m\u202e`x` | password=hunter2secret\n# h"


class Post:
    """Stands for the channels: what was sent, and which of them are down."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.down: set[str] = set()

    def deliver(self, addresses: dict[str, str], title: str, body: str, **_: Any) -> dict[str, Any]:
        for name in addresses:
            if name not in self.down:
                self.sent.append((name, title))
        return {name: msg("it did not answer in time") if name in self.down else None for name in addresses}

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.sent]


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Post:
    found = Post()
    monkeypatch.setattr(notify, "deliver", found.deliver)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[History]:
    with open_history(tmp_path) as opened:
        yield opened


def desk(store: History, now: float = NOW, channels: Any = CHANNELS) -> Desk:
    return Desk(store, plan_of(MATRIX, RULES, lambda: matrix.addresses_of(channels)), TR, now)


def opened(store: History, level: str = "L2", at: float = NOW, host: str = "web-01") -> dict[str, Any]:
    incident, _ = incidents.report(
        store,
        host=host,
        alert="offline",
        severity="critical",
        at=at,
        facts={"scenario": "stopped", "reasons": [msg("{line}", line=HOSTILE)], "tried": [msg("{line}", line="x")]},
    )
    here = desk(store, at)
    found = here.plan.of(level)
    assert found
    return escalation.raise_to(here, incident, found, msg("because"))


# -------------------------------------------------------------------- the matrix


def test_the_playbooks_matrix_is_the_default() -> None:
    plan = plan_of(MATRIX, RULES)
    assert [(one.level, one.respond_within_s) for one in plan.levels] == [
        ("L1", 0),
        ("L2", 900),
        ("L3", 3600),
        ("L4", 14400),
    ]


@pytest.mark.parametrize(
    ("conditions", "named", "level"),
    [
        ([], None, "L2"),
        (["stopped"], None, "L2"),
        (["crash_loop"], None, "L3"),
        (["stopped", "breaker_open"], None, "L3"),
        (["performance_persists"], None, "L3"),
        (["disk_full", "breaker_open"], None, "L4"),
        (["stopped"], "L3", "L3"),
        (["crash_loop"], "L2", "L3"),
        (["stopped"], "L9", "L2"),
    ],
)
def test_the_highest_level_that_is_called_for(conditions: list[str], named: str | None, level: str) -> None:
    assert plan_of(MATRIX, RULES).called_for(conditions, named).level == level


@pytest.mark.parametrize(
    ("matrix", "rules", "said"),
    [
        ([], {}, "no list of levels"),
        ("L1", {}, "no list of levels"),
        ([{"name": "x"}], {}, "give level"),
        ([{"level": "L1"}, {"level": "L1"}], {}, "twice"),
        ([{"level": "L1", "respond_within_s": "soon"}], {}, "no number"),
        ([{"level": "L1", "respond_within_s": -1}], {}, "no number"),
        ([{"level": "L1", "channels": "json://secret"}], {}, "list of names"),
        ([{"level": "L1"}], {"otherwise": "L7"}, "use one of L1"),
        ([{"level": "L1"}], ["x"], "mapping"),
    ],
)
def test_what_is_no_matrix_is_named_in_one_line(matrix: Any, rules: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        plan_of(matrix, rules)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_channels_are_understood_or_refused(value: Any) -> None:
    try:
        found = matrix.addresses_of(value)
    except ChannelsError:
        return
    assert all(isinstance(one, str) for several in found.values() for one in several)


# -------------------------------------------------------------------- telling


def level(store: History, name: str) -> Any:
    return desk(store).plan.of(name)


def test_a_level_is_told_once_of_each(store: History, post: Post) -> None:
    incident = opened(store, "L3")
    for _ in range(3):
        escalation.tell(desk(store), incident, level(store, "L3"))
    assert sorted(post.names) == ["json:developer#2", "mailto:developer"]
    escalation.tell(desk(store), incident, level(store, "L3"), RECOVERED)
    assert len(post.sent) == 4
    assert [title.split("]")[0] for _, title in post.sent] == ["[CRITICAL"] * 2 + ["[RECOVERED"] * 2


def test_a_channel_that_failed_is_tried_again_and_the_other_is_not(store: History, post: Post) -> None:
    incident = opened(store, "L3")
    post.down = {"json:developer#2"}
    told = escalation.tell(desk(store), incident, level(store, "L3"))
    assert (told.sent, list(told.failed)) == (["mailto:developer"], ["json:developer#2"])
    patient = escalation.tell(desk(store, NOW + 5), incident, level(store, "L3"), patient=True)
    assert (patient.sent, patient.failed) == ([], {})
    post.down = set()
    assert escalation.tell(desk(store, NOW + 5), incident, level(store, "L3")).sent == ["json:developer#2"]
    assert [one["outcome"] for one in incidents.told(store, incident["id"])] == ["sent", "failed", "sent"]


def test_who_is_telling_just_now_is_left_to_it_and_one_that_was_killed_is_not(
    store: History, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = opened(store)

    def killed(*_: Any, **__: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(notify, "deliver", killed)
        with pytest.raises(KeyboardInterrupt):
            escalation.tell(desk(store), incident, level(store, "L2"))
    assert escalation.tell(desk(store, NOW + 1), incident, level(store, "L2")).sent == []
    assert escalation.tell(desk(store, NOW + 61), incident, level(store, "L2")).sent == ["json:operator"]


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ({}, "no channels are configured"),
        ({"developer": "json://x"}, "has no address"),
        (7, "maps a name"),
        ({"operator": 7}, "give an address"),
    ],
)
def test_without_an_address_it_is_said_and_nothing_fails(store: History, post: Post, channels: Any, said: str) -> None:
    told = escalation.tell(desk(store, channels=channels), opened(store), level(store, "L2"))
    assert said in " ".join(TR.message(note) for note in told.notes)
    assert post.sent == []


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("locale", ["en", "pt_BR"])
def test_a_message_has_what_is_needed_and_nothing_hostile(store: History, over: bool, locale: str) -> None:
    incident = opened(store)
    if over:
        incident = incidents.close(store, incident["id"], at=NOW + 61)
    wording = Wording(incident, level(store, "L2"), translator(locale, "UTC"), over=over)
    text = wording.title() + wording.body()
    assert "web-01" in text
    assert "hunter2secret" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\n" not in wording.title()
    assert (f"runbook ack {incident['id']}" in text) is not over
    assert len(text) < 2500
    assert "{" not in text


def test_a_level_without_channels_is_said(store: History, post: Post) -> None:
    matrix = [{"level": "L1"}, {"level": "L2", "channels": []}]
    here = Desk(store, plan_of(matrix, {}), TR, NOW)
    incident = opened(store)
    assert "level L2 has no channels" in TR.message(escalation.tell(here, incident, here.plan.levels[1]).notes[0])
    assert escalation.tell(here, incident, here.plan.levels[0]).notes == []


# -------------------------------------------------------------------- going up


def climb(store: History, now: float) -> list[str]:
    return escalation.climb(desk(store, now)).sent


def test_who_does_not_answer_is_passed_over_level_by_level(store: History, post: Post) -> None:
    incident = opened(store)
    assert climb(store, NOW) == ["json:operator"]
    assert climb(store, NOW + 899) == []
    assert [one["id"] for one in escalation.due(store, NOW + 900)] == [incident["id"]]
    assert sorted(climb(store, NOW + 900)) == ["json:developer#2", "mailto:developer"]
    assert climb(store, NOW + 900 + 3599) == []
    assert climb(store, NOW + 900 + 3600) == ["json:architect"]
    assert climb(store, NOW + 10**6) == []  # nobody is left
    timeline = [TR.message(one["what"]) for one in incidents.listed(store)[0]["data"]["timeline"]]
    assert "Not acknowledged in time: it goes to level L3 (Developer)" in timeline


def test_acknowledged_it_stays_where_it_is(store: History, post: Post) -> None:
    incident = opened(store)
    climb(store, NOW)
    for _ in range(2):
        found = incidents.acknowledge(store, incident["id"], "ana", note="on it", now=NOW + 10)
    assert (found["acknowledged_by"], found["next_at"]) == ("ana", None)
    assert escalation.due(store, NOW + 10**6) == []
    assert climb(store, NOW + 10**6) == []
    # What calls for another level still does, but waits for nobody.
    higher = escalation.raise_to(desk(store), found, level(store, "L3"), msg("because"))
    assert (higher["level"], higher["next_at"]) == ("L3", None)


def test_a_level_never_goes_down(store: History) -> None:
    incident = opened(store, "L3")
    assert escalation.raise_to(desk(store), incident, level(store, "L2"), msg("x"))["level"] == "L3"


def test_maintenance_keeps_everybody_from_being_called(store: History, post: Post) -> None:
    opened(store)
    maintenance.begin(store, host="web-01", reason="x", ends_at=NOW + 7200, operator="ana", max_h=24, now=NOW)
    assert climb(store, NOW + 3600) == []
    assert escalation.due(store, NOW + 3600) == []
    # Nobody has been told yet: the operator first, and the time to answer begins now.
    assert climb(store, NOW + 7200) == ["json:operator"]
    assert climb(store, NOW + 7200 + 899) == []
    assert sorted(climb(store, NOW + 7200 + 900)) == ["json:developer#2", "mailto:developer"]


def test_a_level_that_has_nobody_to_tell_is_passed_over_and_a_closed_vault_is_waited_for(
    store: History, post: Post
) -> None:
    opened(store)
    here = desk(store, NOW + 900, {"operator": 7})
    assert escalation.climb(here).sent == []
    assert incidents.listed(store)[0]["level"] == "L2"
    here = desk(store, NOW + 1800, {"developer": "json://d"})
    assert escalation.climb(here).sent == ["json:developer"]
    assert incidents.listed(store)[0]["level"] == "L3"


def test_a_clock_that_jumped_back_does_not_stop_it(store: History, post: Post) -> None:
    opened(store, at=NOW + 10**7)
    climb(store, NOW)
    (incident,) = incidents.listed(store)
    assert epoch(incident["next_at"]) == NOW + 900
    assert sorted(climb(store, NOW + 900)) == ["json:developer#2", "mailto:developer"]


def test_a_recovery_that_could_not_be_told_is_told_later(store: History, post: Post) -> None:
    incident = opened(store)
    climb(store, NOW)
    post.down = {"json:operator"}
    closed = incidents.close(store, incident["id"], at=NOW + 5)
    escalation.tell_over(desk(store, NOW + 5), closed)
    post.down = set()
    assert climb(store, NOW + 6) == []
    assert climb(store, NOW + 70) == ["json:operator"]
    assert climb(store, NOW + 200) == []
    assert [title.split("]")[0] for _, title in post.sent] == ["[CRITICAL", "[RECOVERED"]


def test_only_the_hosts_that_are_asked_for(store: History, post: Post) -> None:
    opened(store)
    opened(store, host="web-02")
    assert escalation.climb(desk(store), ["web-02"]).sent == ["json:operator"]
    assert "web-02" in post.sent[0][1]


# -------------------------------------------------------------------- incidents


def test_one_incident_for_an_alert_of_a_host_while_it_is_open(store: History) -> None:
    first = opened(store)
    again, new = incidents.report(store, host="web-01", alert="offline", severity="critical", at=NOW + 5)
    assert (again["id"], new) == (first["id"], False)
    assert again["data"]["scenario"] == "stopped"
    other, new = incidents.report(store, host="web-01", alert="database", severity="medium", at=NOW + 5)
    assert new
    incidents.close(store, first["id"], at=NOW + 10)
    later, new = incidents.report(store, host="web-01", alert="offline", severity="critical", at=NOW + 20)
    assert new
    assert later["id"] not in (first["id"], other["id"])
    assert [one["id"] for one in incidents.listed(store)] == [later["id"], other["id"]]
    assert len(incidents.listed(store, closed=True)) == 3


@pytest.mark.parametrize("number", [99, 1])
def test_what_can_not_be_acknowledged_is_said(store: History, number: int) -> None:
    incidents.close(store, opened(store)["id"], at=NOW + 1)
    with pytest.raises(IncidentError) as caught:
        incidents.acknowledge(store, number, "ana", now=NOW + 2)
    assert "\n" not in TR.message(caught.value.message)


def test_a_timeline_keeps_its_beginning_and_its_end_and_says_nothing_twice(store: History) -> None:
    incident = opened(store)
    for number in range(300):
        said = [incidents.entry(msg("{n}", n=number), NOW), incidents.entry(msg("same"), NOW, once=True)]
        incident = incidents.change(store, incident["id"], at=NOW, entries=said)
    timeline = incident["data"]["timeline"]
    assert len(timeline) == incidents.MAX_TIMELINE
    assert sum(one["what"]["text"] == "same" for one in timeline) == 1
    assert timeline[-1]["what"]["args"] == {"n": 299}
    assert timeline[0]["what"]["text"] == "because"
    json.dumps(incident)


def test_a_plan_without_levels_that_answer_waits_for_nobody(store: History) -> None:
    plan = Plan(plan_of([{"level": "only"}], {}).levels, {})
    incident, _ = incidents.report(store, host="h", alert="offline", severity="high", at=NOW)
    here = Desk(store, plan, TR, NOW)
    raised = escalation.raise_to(here, incident, plan.levels[0], msg("x"))
    assert raised["next_at"] is None
    assert escalation.overdue(here, raised)["level"] == "only"
    assert escalation.tell(here, raised, plan.levels[0], ONGOING).sent == []
