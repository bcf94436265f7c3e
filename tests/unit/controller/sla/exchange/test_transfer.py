"""Samples out into files, and in from files that are not always whole."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orquestrador.core.messages import plain
from orquestrador_ops.core.errors import HistoryError, SlaError
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.store import History
from orquestrador_ops.sla.data import series
from orquestrador_ops.sla.data import store as stores
from orquestrador_ops.sla.data.store import roll_up
from orquestrador_ops.sla.exchange import transfer as exchange
from orquestrador_ops.watch import store as watch_store
from tests.unit.controller.sla.data.test_blocks import look
from tests.unit.controller.sla.filled import DAY, MONDAY, made

LATER = MONDAY + 10 * DAY
LINE = '{"host": "web", "at": "2026-06-01T00:00:00Z", "ok": true, "latency_ms": 12.5}'


def taken(store: History, text: str | bytes, **options: Any) -> dict[str, Any]:
    data = text.encode() if isinstance(text, str) else text
    return exchange.import_file(store, io.BytesIO(data), **options)


def out(store: History, **options: Any) -> str:
    stream = io.StringIO()
    exchange.export(store, stream, **{"fmt": "jsonl", **options})
    return stream.getvalue()


def reasons(found: dict[str, Any]) -> dict[int, str]:
    return {one["line"]: plain(one["reason"]) for one in found["rejected"]}


# ------------------------------------------------------------------ there and back


@pytest.mark.parametrize("fmt", ["csv", "jsonl"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_went_out_comes_back_as_it_was(tmp_path: Path, fmt: str, packed: bool) -> None:
    whole = made(MONDAY + 0.123456, 3000, 47.3)
    whole["flags"][:50] = 0
    whole["flags"][50:100] = 4
    whole["latency_ms"][100:120] = np.nan
    whole["memory_bytes"][::3] = np.nan
    whole["at"][200:300] += 1e-7 * np.arange(100)  # a clock of nanoseconds
    with open_history(tmp_path / "a") as one, open_history(tmp_path / "b") as other:
        stores.write_series(one, "web", whole, "x")
        stores.write_series(one, 'quoted "host", ação', whole[:5], "x")
        text = out(one, fmt=fmt)
        data = gzip.compress(text.encode()) if packed else text.encode()
        found = taken(other, data)
        assert (found["format"], found["stored"], found["duplicates"], found["rejected"]) == (fmt, 3005, 0, [])
        assert found["hosts"] == ['quoted "host", ação', "web"]
        assert stores.series(other, "web", 0, LATER).tobytes() == whole.tobytes()
        assert out(other, fmt=fmt) == text
        again = taken(other, data, fmt=fmt)
        assert (again["stored"], again["duplicates"], again["read"]) == (0, 3005, 3005 + (fmt == "csv"))


@settings(max_examples=100, deadline=None)
@given(at=st.floats(1e8, 4e9), figure=st.floats(0, 1e9, width=32))
def test_every_number_comes_back(at: float, figure: float) -> None:
    one = series.empty(1)
    one["at"], one["latency_ms"], one["flags"] = at, figure, 3
    (line,) = exchange._json_lines("h", one)
    assert json.loads(line)["at"].endswith("+00:00")
    ((_, _, sample),) = exchange.from_json([(1, line)], None, UTC)
    assert np.array([sample], series.SAMPLE).tobytes() == one.tobytes()


def test_export_is_what_the_contract_says(store: History) -> None:
    watch_store.record(store, [look(MONDAY)], {})
    watch_store.record(store, [("web", None, None, {"public": {"ok": False}})], {})
    first, second = (json.loads(line) for line in out(store).splitlines())
    assert first == {
        "host": "web",
        "at": "2026-06-01T00:00:00+00:00",
        "ok": True,
        "latency_ms": 12.5,
        "memory_bytes": 91231232,
        "cpu_percent": 1.5,
        "disk_percent": 60.25,
    }
    assert (second["ok"], second["latency_ms"], second["outside_ok"]) == (None, None, False)
    assert out(store, fmt="csv").splitlines()[:2] == [
        "host,at,ok,latency_ms,outside_ok,memory_bytes,cpu_percent,disk_percent",
        "web,2026-06-01T00:00:00+00:00,true,12.5,,91231232,1.5,60.25",
    ]


def test_export_of_a_part(store: History) -> None:
    whole = made(MONDAY, 3 * 1440)
    stores.write_series(store, "web", whole, "x")
    stores.write_series(store, "other", whole[:3], "x")
    start, end = MONDAY + 0.5 * DAY, MONDAY + 2.5 * DAY
    found = [json.loads(line) for line in out(store, host="web", start=start, end=end).splitlines()]
    assert [datetime.fromisoformat(one["at"]).timestamp() for one in found] == [
        at for at in whole["at"] if start <= at < end
    ]
    assert len(out(store).splitlines()) == 3 * 1440 + 3
    with pytest.raises(SlaError, match="no samples of nobody: the history knows other, web"):
        out(store, host="nobody")
    with pytest.raises(SlaError, match='"xml" is no format to export'):
        out(store, fmt="xml")


# ------------------------------------------------------------------ what comes in


@pytest.mark.parametrize(
    ("at", "zone", "expected"),
    [
        ('"2026-06-01T00:00:00Z"', "UTC", MONDAY),
        ('"2026-05-31T21:00:00-03:00"', "UTC", MONDAY),
        ('"2026-05-31 21:00:00"', "America/Sao_Paulo", MONDAY),
        ('"2026-06-01T00:00:00.250000+00:00"', "UTC", MONDAY + 0.25),
        ('"2026-06-01T00:00:00.250000125Z"', "UTC", MONDAY + 0.250000125),
        (str(int(MONDAY)), "America/Sao_Paulo", MONDAY),
        (str(MONDAY + 0.5), "UTC", MONDAY + 0.5),
    ],
)
def test_instants(store: History, at: str, zone: str, expected: float) -> None:
    found = taken(store, f'{{"host": "web", "at": {at}, "ok": true, "latency_ms": 1}}\n', timezone=zone)
    assert found["rejected"] == []
    assert stores.series(store, "web", 0, LATER)["at"].tolist() == [expected]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (LINE[:40], "not a whole line of JSON"),
        ("[1]", "not an object"),
        ("nonsense", "not a whole line"),
        ("{" * 100_000, "not a whole line"),
        (LINE.replace('"web"', "7"), "no host"),
        (LINE.replace('"web"', '""'), "no host"),
        (LINE.replace('"web"', '"we\\nb"'), "no host"),
        (LINE.replace("true", '"true"'), "true, false or null"),
        (LINE.replace("true", "1"), "true, false or null"),
        (LINE.replace('"ok"', '"up"'), "ok is missing"),
        (LINE.replace("2026-06-01T00:00:00Z", "yesterday"), "no time"),
        (LINE.replace("2026-06-01T00:00:00Z", "2026-06-01"), "no time"),
        (LINE.replace("2026-06-01T00:00:00Z", "2026-02-30T00:00:00Z"), "no time"),
        (LINE.replace('"2026-06-01T00:00:00Z"', "1780272000000"), "no time"),  # milliseconds
        (LINE.replace('"2026-06-01T00:00:00Z"', "true"), "no time"),
        (LINE.replace('"2026-06-01T00:00:00Z"', "NaN"), "no time"),
        (LINE.replace("12.5", "-1"), "a figure"),
        (LINE.replace("12.5", "NaN"), "a figure"),
        (LINE.replace("12.5", "Infinity"), "a figure"),
        (LINE.replace("12.5", '"12"'), "a figure"),
        (LINE.replace("12.5", "true"), "a figure"),
    ],
)
def test_bad_line_is_told_and_stops_no_other(store: History, line: str, reason: str) -> None:
    good = [LINE.replace("00:00:00", f"00:00:0{n}") for n in range(3)]
    found = taken(store, "\n".join([good[0], "", line, good[1], good[2]]), fmt="jsonl")
    assert list(reasons(found)) == [3]
    assert reason in reasons(found)[3]
    assert (found["read"], found["stored"], found["rejected_total"]) == (4, 3, 1)
    assert len(stores.series(store, "web", 0, LATER)) == 3


@pytest.mark.parametrize(
    ("data", "stored", "rejected"),
    [
        (b"", 0, 0),
        (b"\n\r\n  \n", 0, 0),
        (b"\xef\xbb\xbf" + LINE.encode(), 1, 0),
        (LINE.replace('"ok"', '\t"ok"').encode() + b"\r\n" + LINE.encode() + b"\r\n", 1, 0),
        (LINE.encode() + b"\n" + LINE[:30].encode(), 1, 1),
        (LINE.encode() + b"\n\xff\xfe\x00\n", 1, 1),
        (gzip.compress(LINE.encode() + b"\n" + LINE.encode(), mtime=0)[:-4], 1, 1),
        (gzip.compress(LINE.encode(), mtime=0)[:20], 0, 1),
        (LINE.encode() + b"\n" + b"x" * 300_000 + b"\n" + LINE.replace("12.5", "x").encode(), 1, 2),
    ],
)
def test_files_as_they_come(store: History, data: bytes, stored: int, rejected: int) -> None:
    found = taken(store, data)
    assert (found["stored"], found["rejected_total"]) == (stored, rejected)


def test_host_of_lines_that_name_none(store: History) -> None:
    bare = LINE.replace('"host": "web", ', "")
    assert reasons(taken(store, bare)) == {1: "no host: name one for lines that have none"}
    assert taken(store, bare, host="mine")["hosts"] == ["mine"]
    assert taken(store, LINE, host="mine")["hosts"] == ["web"]


@pytest.mark.parametrize(
    ("text", "good", "rejected"),
    [
        ("host,at,ok\nweb,2026-06-01T00:00:00Z,true\nweb,2026-06-01T00:01:00Z,false\n", [True, False], []),
        ("AT;OK\n1780272000;1\n1780272060.5;0\n", [True, False], []),
        ('"at","ok","latency_ms"\n1780272000,TRUE,12\n1780272060,no,1\n1780272061,true,fast\n', [True], [3, 4]),
        (
            'at,ok\n1780272000,true\n1780272060\n1780272061,true,x\n"1780272062,true\n1780272063,false\n',
            [True, False],
            [3, 4, 5],
        ),
        ("at,latency_ms\n1780272000,1\n", [], [1]),
    ],
)
def test_csv(store: History, text: str, good: list[bool], rejected: list[int]) -> None:
    found = taken(store, text, host="web", fmt="csv")
    assert [bool(flags & 2) for flags in stores.series(store, "web", 0, LATER)["flags"]] == good
    assert list(reasons(found)) == rejected


def test_unknown_things_are_one_line(store: History, tmp_path: Path) -> None:
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (io.BytesIO(b"hello\n"), {}, "format is not recognised"),
        (io.BytesIO(b"x"), {"fmt": "xml"}, '"xml" is no format to import'),
        (io.BytesIO(b"x"), {"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        (io.BytesIO(b"2026-06-01 12:00:00 [INFO] x\n"), {}, "name the host"),
        (io.BytesIO("x".encode("utf-16")), {}, "UTF-16"),
        (io.BytesIO(b"{}"), {"host": "a\nb"}, "no name of a host"),
        (tmp_path / "none", {}, "cannot be read: No such file"),
        (tmp_path, {}, "cannot be read: Is a directory"),
    ]
    for source, options, said in cases:
        with pytest.raises(ValueError, match=said) as error:
            exchange.import_file(store, source, **options)
        assert "\n" not in str(error.value)
    assert stores.hosts(store) == []


def test_store_that_fails_is_not_the_file_s_fault(store: History, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise HistoryError({"text": "full", "args": {}})

    monkeypatch.setattr("orquestrador_ops.sla.data.blocks.add", fails)
    with pytest.raises(HistoryError, match="full"):
        taken(store, LINE)


def test_only_the_first_bad_lines_are_listed(store: History) -> None:
    found = taken(store, "{}\n" * 1500 + LINE)
    assert (len(found["rejected"]), found["rejected_total"], found["stored"]) == (exchange.MAX_REJECTED, 1500, 1)


def test_lines_of_a_rolled_up_day_are_told(store: History) -> None:
    stores.write_series(store, "web", made(MONDAY, 1440), "x")
    roll_up(store, MONDAY + 200 * DAY)
    found = taken(store, LINE.replace("2026-06-01", "2026-06-02") + "\n" + LINE + "\n")
    assert found["stored"] == 1
    assert reasons(found) == {2: "this day is rolled up already: it takes no samples any more"}


def test_batches_are_stored_as_they_come(store: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_BATCH", 7)
    whole = made(MONDAY, 500)
    lines = "".join(exchange._json_lines("web", np.random.default_rng(1).permutation(whole)))
    assert taken(store, lines + lines)["duplicates"] == 500
    assert np.array_equal(stores.series(store, "web", 0, LATER), whole)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), fmt=st.sampled_from([*exchange.FORMATS, "auto"]))
def test_no_file_is_a_traceback(store: History, data: bytes, fmt: str) -> None:
    try:
        found = taken(store, data, fmt=fmt, host="web")
    except SlaError as error:
        assert "\n" not in str(error)
    else:
        assert found["stored"] + found["duplicates"] <= found["read"]


# ------------------------------------------------------------------ the monitor's own log


def monitor(text: str, store: History, zone: str = "UTC") -> tuple[list[tuple[float, int]], dict[int, str]]:
    found = taken(store, text, host="web", timezone=zone)
    assert found["format"] == "health-monitor"
    return [(one["at"] - MONDAY, int(one["flags"])) for one in stores.series(store, "web", 0, LATER)], reasons(found)


def test_plain_log_one_line_a_look(store: History) -> None:
    text = (
        "2026-06-01 00:00:00 [INFO] ok\n2026-06-01 00:01:00 [ERROR] Falha no health\n"
        "2026-06-01 00:02:00 [WARNING] Memória em 410 MB\n2026-06-01 00:03:00 [WARNING] Health check falhou\n"
        "    at Object.<anonymous>\n2026-06-01 00:04:00 [DEBUG] x\n2026-13-01 00:04:00 [INFO] x\n2026-06-01 00:05:0"
    )
    samples, told = monitor(text, store)
    assert samples == [(0, 3), (60, 1), (120, 3), (180, 1)]
    assert list(told) == [5, 6, 7, 8]
    assert "no such date" in told[7]


def test_look_of_several_lines_is_one_sample(store: History) -> None:
    look_ = (
        "2026-06-01 00:{0:02}:00 [INFO] PM2: 1 de 1 online, 0 restarts\n"
        "2026-06-01 00:{0:02}:01 [INFO] Memória da aplicação: 87 MB\n"
        "2026-06-01 00:{0:02}:06 [{1}] Health endpoint: HTTP {2} em 0.012500 s\n"
        "2026-06-01 00:{0:02}:07 [WARNING] Disco: 91%\n"
        "2026-06-01 00:{0:02}:08 [{1}] Sistema: {3}\n"
    )
    text = look_.format(0, "INFO", 200, "SAUDÁVEL") + look_.format(1, "ERROR", 503, "NÃO SAUDÁVEL")
    text += "2026-06-01 00:02:00 [INFO] PM2: 1 de 1 online, 0 restarts\n"
    samples, told = monitor(text, store)
    assert samples == [(8, 3), (68, 1)]
    assert told == {11: "the look of the monitor has no summary: it was not finished"}
    first = stores.series(store, "web", 0, LATER)[0]
    assert (first["latency_ms"], first["memory_bytes"], first["disk_percent"]) == (12.5, 87 * 2**20, 91)


def test_hour_that_a_clock_shows_twice(store: History) -> None:
    zone = "America/New_York"  # 2026-11-01: 02:00 becomes 01:00 again
    text = "".join(
        f"2026-11-01 {time} [INFO] x\n" for time in ("01:00:00", "01:50:00", "01:10:00", "01:55:00", "02:05:00")
    )
    taken(store, text, host="web", timezone=zone)
    start = datetime(2026, 11, 1, 1, 0, tzinfo=ZoneInfo(zone)).timestamp()
    found = [(at - start) / 60 for at in stores.series(store, "web", 0, start + DAY)["at"]]
    assert found == [0, 50, 70, 115, 125]


SCRIPT = Path(__file__).resolve().parents[5] / "molecule/shared/app/health-monitor.sh"


def test_what_the_stand_in_writes_is_read(store: History, tmp_path: Path) -> None:
    (tmp_path / "monitor.sh").write_bytes(SCRIPT.read_bytes())
    environment = {**os.environ, "TZ": "America/Sao_Paulo", "PORT": "1"}
    (tmp_path / ".env").write_text("PORT=1\n")
    before = datetime.now(UTC).timestamp() - 2
    subprocess.run(
        ["bash", str(tmp_path / "monitor.sh")], env=environment, timeout=60, check=False, capture_output=True
    )
    log = tmp_path / "logs/health-monitor.log"
    found = exchange.import_file(store, log, host="web", timezone="America/Sao_Paulo")
    assert (found["format"], found["stored"], found["rejected"]) == ("health-monitor", 1, [])
    (sample,) = stores.series(store, "web", before, before + 120)
    assert sample["flags"] == 1, "nothing runs here"
    assert 0 <= sample["disk_percent"] <= 100
