"""A line of CSV, of JSON or of the application's own monitor: one sample, or why it is none."""

from __future__ import annotations

import math
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from orquestrador_ops.sla.data.series import INSIDE_GOOD, INSIDE_SEEN, OUTSIDE_SEEN
from orquestrador_ops.sla.exchange import health_log, lines

NOON = 1767614400.0  # 2026-01-05T12:00:00Z
PAULO = ZoneInfo("America/Sao_Paulo")


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("2026-01-05T12:00:00Z", NOON),
        ("2026-01-05T09:00:00", NOON),  # of the zone that is given
        (NOON, NOON),
        ("2026-01-05", None),
        ("2026-01-05T12:00:00.12345678Z", NOON + 0.12345678),
        (NOON * 1000, None),
        (True, None),
        (0, None),
    ],
)
def test_a_time_is_an_instant_or_nothing(value: object, at: float | None) -> None:
    found = lines.instant(value, PAULO)
    assert found == (at if at is None else pytest.approx(at, abs=1e-6))


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 256, None, 3])
def test_what_can_be_no_host_is_none(name: object) -> None:
    assert lines.host_of(name) is None


def test_csv_and_json_say_the_same() -> None:
    csv = ["host;at;ok;outside_ok;latency_ms", f"web;{NOON};true;false;12.5", f"web;{NOON + 60};0;;"]
    json = [
        f'{{"host": "web", "at": {NOON}, "ok": true, "outside_ok": false, "latency_ms": 12.5}}',
        f'{{"host": "web", "at": {NOON + 60}, "ok": false}}',
    ]
    first = list(lines.from_csv(enumerate(csv), None, UTC))
    second = list(lines.from_json(enumerate(json, 1), None, UTC))
    assert repr(first) == repr(second)
    (_, host, sample), _ = first  # type: ignore[misc]
    assert (host, sample[0], sample[5]) == ("web", NOON, INSIDE_SEEN | INSIDE_GOOD | OUTSIDE_SEEN)


def test_a_line_that_is_wrong_stops_no_other() -> None:
    csv = [
        "at,ok,host",
        "never,1,web",
        f'{NOON},"1,web',
        f"{NOON},1",
        f"{NOON},perhaps,web",
        f"{NOON},1,",
        f"{NOON},1,web",
    ]
    found = list(lines.from_csv(enumerate(csv, 1), None, UTC))
    assert [one.line for one in found if isinstance(one, lines.Rejected)] == [2, 3, 4, 5, 6]
    assert [one[1] for one in found if isinstance(one, tuple)] == ["web"]


LOG = """\
2026-01-05 09:00:00 [INFO] HTTP 200 em 35 ms
2026-01-05 09:00:01 [INFO] Memória da aplicação: 100 MB
2026-01-05 09:00:02 [INFO] Sistema: SAUDÁVEL
2026-01-05 09:01:00 [ERROR] MySQL não respondeu
2026-01-05 09:01:01 [INFO] Sistema: COM FALHAS
rubbish
2026-01-05 09:02:00 [INFO] HTTP 200 em 35 ms
2026-13-05 09:02:00 [INFO] HTTP 200 em 35 ms
""".splitlines()


def test_a_look_of_the_monitor_is_one_sample() -> None:
    found = list(health_log.read(enumerate(LOG, 1), "web", PAULO))
    samples = [one[2] for one in found if isinstance(one, tuple)]
    assert [sample[0] for sample in samples] == [NOON + 2, NOON + 61]
    assert [sample[5] for sample in samples] == [INSIDE_SEEN | INSIDE_GOOD, INSIDE_SEEN]
    assert (samples[0][1], samples[0][2]) == (35.0, 100 * 1024**2)
    assert math.isnan(samples[1][1])
    # No line of the form, no such month, and a look that was not finished.
    assert sorted(one.line for one in found if isinstance(one, lines.Rejected)) == [6, 7, 8]
