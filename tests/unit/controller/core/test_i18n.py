from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.core import i18n
from orquestrador_ops.core.i18n import LOCALES, parse_time, translator

PT, EN = translator("pt_BR"), translator("en")


@pytest.mark.parametrize(
    ("name", "value", "pt", "en"),
    [
        ("used_bytes", 0, "0 B", "0 B"),
        ("used_bytes", 1023, "1023 B", "1023 B"),
        ("used_bytes", 1536, "1,5 KB", "1.5 KB"),
        ("used_bytes", 400 * 2**20, "400 MB", "400 MB"),
        # Just above a limit must not read like the limit.
        ("used_bytes", 400 * 2**20 + 2**17, "400,1 MB", "400.1 MB"),
        ("used_bytes", 3 * 2**29, "1,5 GB", "1.5 GB"),
        ("used_bytes", 5 * 2**40, "5 TB", "5 TB"),
        ("median_ms", 12.34, "12,3 ms", "12.3 ms"),
        ("median_ms", 999, "999 ms", "999 ms"),
        ("median_ms", 2350, "2,35 s", "2.35 s"),
        ("took_s", 0, "0 s", "0 s"),
        ("took_s", 0.25, "250 ms", "250 ms"),
        ("took_s", 12.5, "12,5 s", "12.5 s"),
        ("took_s", 250, "4 min 10 s", "4 min 10 s"),
        ("took_s", 300, "5 min", "5 min"),
        ("took_s", 11100, "3 h 5 min", "3 h 5 min"),
        ("took_s", 7 * 86400 + 4 * 3600, "7 d 4 h", "7 d 4 h"),
        ("took_s", -250, "-4 min 10 s", "-4 min 10 s"),
        ("took_s", float("nan"), "desconhecido", "unknown"),
        ("cpu_percent", 83.45, "83,5%", "83.5%"),
        ("cpu_percent", -0.01, "0%", "0%"),
        ("since_at", "2026-11-22T12:00:00+00:00", "22/11/2026 09:00:00", "2026-11-22 09:00:00"),
        ("since_at", "2026-11-22T12:00:00Z", "22/11/2026 09:00:00", "2026-11-22 09:00:00"),
        ("since_at", 0, "31/12/1969 21:00:00", "1969-12-31 21:00:00"),
        ("since_at", "yesterday", "yesterday", "yesterday"),
        # A port is not a quantity: no grouping.
        ("port", 3001, "3001", "3001"),
        ("ratio", 1.5, "1,5", "1.5"),
        ("ok", True, "sim", "yes"),
        ("pid", None, "desconhecido", "unknown"),
        ("used_bytes", "n/a", "n/a", "n/a"),
        ("user", "flavio", "flavio", "flavio"),
    ],
)
def test_value_is_written_as_its_unit_and_language_ask(name: str, value: object, pt: str, en: str) -> None:
    assert (PT.value(name, value), EN.value(name, value)) == (pt, en)


def test_message_is_translated_and_filled_in() -> None:
    message = {"text": "answers in {latency_ms}", "args": {"latency_ms": 1.25}}
    assert PT.message(message) == "responde em 1,2 ms"
    assert EN.message(message) == "answers in 1.2 ms"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (None, ""),
        ("plain text", "plain text"),
        ({"text": "no such id {x}", "args": {"x": 1}}, "no such id 1"),
        ({"text": "{missing} stays", "args": {}}, "{missing} stays"),
        ({"text": "{x}", "args": {"x": "{y}", "y": "no"}}, "{y}"),
        ({"text": "{x.__class__} {0} {", "args": {"x": 1}}, "{x.__class__} {0} {"),
        ({"text": "", "args": {}}, ""),
        ({"text": "a", "args": "not a mapping"}, "a"),
        ({"text": "{text} of {self}", "args": {"text": 1, "self": 2}}, "1 of 2"),
        ({"no": "text"}, "{'no': 'text'}"),
        (7, "7"),
    ],
)
def test_odd_messages_are_shown_not_raised(message: object, shown: str) -> None:
    assert PT.message(message) == shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(st.dictionaries(st.sampled_from(["text", "args", "x"]), JSON | st.dictionaries(st.text(), JSON)))
def test_no_message_ever_raises(message: dict[str, object]) -> None:
    assert isinstance(PT.message(message), str)


@given(st.sampled_from(["a_bytes", "a_ms", "a_s", "a_percent", "a_at", "a"]), JSON)
def test_no_value_ever_raises(name: str, value: object) -> None:
    assert isinstance(PT.value(name, value), str)


def test_former_message_keeps_its_translation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pt_BR" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
    (folder / "orquestrador.po").write_text(header + 'msgid "Today"\nmsgstr "Hoje"\n', encoding="utf-8")
    (folder / "former.po").write_text(header + 'msgid "In use by {run}"\nmsgstr "Em uso por {run}"\n', encoding="utf-8")
    monkeypatch.setattr(i18n, "LOCALE_DIR", tmp_path)
    monkeypatch.setattr(i18n, "_catalogs", {})
    translator.cache_clear()
    pt = translator("pt_BR", state_dir=tmp_path / "state")
    translator.cache_clear()
    assert pt.t("Today") == "Hoje"
    assert not list((tmp_path / "state").rglob("former-*.mo"))  # not read before it is needed
    assert pt.message({"text": "In use by {run}", "args": {"run": "r1"}}) == "Em uso por r1"
    assert pt.t("Never said") == "Never said"


def test_unknown_locale_names_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="pt_PT") as caught:
        translator("pt_PT")
    assert all(locale in str(caught.value) for locale in LOCALES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "", "a\0b"])
def test_unknown_time_zone_is_one_line(name: str) -> None:
    with pytest.raises(ValueError, match="ops_timezone") as caught:
        translator("en", name)
    assert "\n" not in str(caught.value)


def test_time_zone_is_the_operators() -> None:
    assert translator("en", "UTC").time("2026-11-22T12:00:00Z") == "2026-11-22 12:00:00"
    assert translator("en", "Asia/Tokyo").time("2026-11-22T12:00:00Z") == "2026-11-22 21:00:00"


def test_time_without_a_zone_is_utc() -> None:
    naive, aware = parse_time("2026-11-22T12:00:00"), parse_time("2026-11-22T09:00:00-03:00")
    assert naive == aware
