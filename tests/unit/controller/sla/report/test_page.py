"""The report of a period as people open it: strict HTML, Markdown that reads as it is, JSON that every reader takes."""

from __future__ import annotations

import copy
import itertools
import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from orquestrador_ops.core.i18n import Translator, translator
from orquestrador_ops.sla.data import periods
from orquestrador_ops.sla.evaluate.evaluate import Facts, evaluate
from orquestrador_ops.sla.evaluate.objectives import Objectives
from orquestrador_ops.sla.report import page, sheet
from orquestrador_ops.sla.report.charts import INKS
from tests.unit.controller.sla import known
from tests.unit.fakes.pages import Page

PT, EN = translator("pt_BR"), translator("en")
HOSTILE = "<script>alert(1)</script> | `x` \x1b[31mred\n# h \u202e $a$"
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
NOW = known.at("2026-11-22T12:00")
PERIODS = ("2026-10-13", "2026-W43", "2026-10", "2026-11", "2026-Q4", "2025")


def history(name: str, plan: known.Plan | None = None) -> known.Known:
    step = 60.0 if len(name) > 7 or "W" in name else 240.0
    wanted = known.month().plan if plan is None else plan
    if plan is None and name != "2026-10":
        wanted = known.Plan(runs=wanted.runs, incidents=wanted.incidents)
    return known.built(periods.parse(name, now=NOW, timezone=known.ZONE), NOW, step, wanted, logs=False)


_made: dict[str, tuple[dict[str, Any], Facts]] = {}


def made(name: str) -> tuple[dict[str, Any], Facts]:
    """The document and the facts of a period, evaluated once."""
    if name not in _made:
        facts = known.facts(known.month() if name == "2026-10" else history(name))
        _made[name] = evaluate(facts, Objectives()), facts
    document, facts = _made[name]
    return copy.deepcopy(document), facts


def empty() -> dict[str, Any]:
    """A period of which nothing is known."""
    gaps = known.Plan(gaps=[("2026-09-01T00:00", 86400.0 * 30)])
    return evaluate(
        known.facts(known.built(periods.parse("2026-09", now=NOW, timezone=known.ZONE), NOW, 300.0, gaps, logs=False)),
        Objectives(),
    )


# ------------------------------------------------------------------ HTML


def check(text: str, lang: str) -> Page:
    """Everything that must hold of any page."""
    found = Page(text)
    attributes = [(tag, key, value or "") for tag, of in found.tags for key, value in of.items()]
    assert dict(found.tags)["html"] == {"lang": lang}
    assert not {"script", "img", "link", "iframe", "object", "form", "image", "foreignobject"} & {
        t for t, _ in found.tags
    }
    assert not [a for a in attributes if a[1].startswith("on") or a[1] in {"src", "action", "xlink:href"}]
    ids = [value for _, key, value in attributes if key == "id"]
    assert len(ids) == len(set(ids))
    named = {one for _, key, value in attributes if key in {"aria-labelledby", "for"} for one in value.split()}
    linked = {value for _, key, value in attributes if key == "href"}
    drawn = set(re.findall(r"url\(#([^)]+)\)", text))
    assert all(one.startswith("#") for one in linked)
    assert named | {one[1:] for one in linked} | drawn <= set(ids)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/)", text)
    headings = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    assert all("scope" in of for tag, of in found.tags if tag == "th")
    pictures = [of for tag, of in found.tags if tag == "svg"]
    assert all(
        of.get("aria-hidden") == "true" or (of.get("role") == "img" and of.get("aria-labelledby")) for of in pictures
    )
    return found


@pytest.mark.parametrize("name", PERIODS)
def test_a_page_is_well_formed_self_contained_and_accessible(name: str) -> None:
    document, facts = made(name)
    check(page.render(document, "html", PT, facts), "pt-BR")


@pytest.mark.parametrize("name", ["2026-10-13", "2026-10"])
def test_a_document_alone_is_a_page(name: str) -> None:
    check(page.render(made(name)[0], "html", EN), "en")


@pytest.mark.parametrize("tr", [PT, EN], ids=lambda tr: tr.tag)
def test_a_period_of_which_nothing_is_known_says_so_and_draws_nothing(tr: Translator) -> None:
    text = page.render(empty(), "html", tr)
    found = check(text, tr.tag)
    assert tr.t("NO DATA") in found.text
    assert tr.t("Nothing was measured in this period.") in found.text
    assert 'class="drawn"' not in text
    assert "nan" not in found.text.lower().split()


def test_a_document_with_hardly_anything_in_it_is_a_page() -> None:
    bare = {"host": "h", "period": {"name": "x", "from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}}
    for fmt in page.FORMATS:
        assert page.render(bare, fmt, EN)


def test_the_month_says_what_happened() -> None:
    document, facts = made("2026-10")
    text = Page(page.render(document, "html", PT, facts)).text
    for words in (
        "outubro de 2026",
        "NÃO CUMPRIDO",
        "Melhorar a automação",
        "13/10/2026 14:30:00",  # the long outage began
        "22 min",  # and took
        "fora do prazo",
        "no prazo",
        "planejado",
        "1 de 2 incidentes no prazo",
        "Tempo no ar",
        "Checklist de excelência operacional",
        "Suíte de testes aprovada por completo",
        "4 de 4 semana(s)",
        "Update of the database",
    ):
        assert words in text


def test_burn_rates_are_told_where_they_are_known() -> None:
    document, _ = made("2026-10-13")
    assert "Burn rate" not in page.render(document, "md", EN)
    document["burn"] = [
        {
            "name": "page-fast",
            "severity": "page",
            "long_s": 3600,
            "short_s": 300,
            "factor": 14.4,
            "long_burn": 16.667,
            "short_burn": None,
            "bad_long": 9,
            "bad_short": 1,
            "firing": True,
        },
        {
            "name": "ticket-slow",
            "severity": "ticket",
            "long_s": 259200,
            "short_s": 21600,
            "factor": 1,
            "long_burn": 0,
            "short_burn": 0,
            "bad_long": 0,
            "bad_short": 0,
            "firing": False,
        },
    ]
    text = page.render(document, "md", EN)
    assert "| page-fast | 1 h / 5 min | 16.67× |  | 14.4× | ✘ burns too fast |" in text
    assert "| ticket-slow | 3 d / 6 h | 0× | 0× | 1× | ✔ quiet |" in text
    check(page.render(document, "html", EN), "en")


def test_charts_take_their_colours_from_the_page() -> None:
    document, facts = made("2026-10")
    text = page.render(document, "html", EN, facts)
    assert text.count('class="drawn"') == 5
    assert not re.search("|".join(INKS.values()), text)
    style = text[text.index("<style>") : text.index("</style>")]
    for ink in {*re.findall(r"var\(--([a-z-]+)\)", text)}:
        assert f"--{ink}:" in style
    assert text.count("<style") == 1


@pytest.mark.parametrize(("name", "column", "rows"), [("2026-10-13", "Hour", 24), ("2026-W43", "Day", 7)])
def test_a_day_is_drawn_by_its_hours_and_a_longer_period_by_its_days(name: str, column: str, rows: int) -> None:
    document, facts = made(name)
    drawn = sheet.build(document, EN, facts)["pictures"]
    for chart in ("latency", "memory", "disk"):
        assert drawn[chart]["svg"] is not None
        assert drawn[chart]["table"]["columns"][0] == column
        assert len(drawn[chart]["table"]["rows"]) == rows
        assert ("hour" in drawn[chart]["summary"]) == (column == "Hour")
    assert drawn["latency"]["table"]["rows"][0][0] == ("2026-10-13 00:00:00" if column == "Hour" else "Oct 19, 2026")


def test_a_page_is_the_same_each_time() -> None:
    page.warm(EN)  # which a parent does before its workers
    document, facts = made("2026-W43")
    assert page.render(document, "html", EN, facts) == page.render(document, "html", EN, facts)


def test_hostile_text_is_text() -> None:
    document, facts = made("2026-10")
    document["host"] = HOSTILE
    document["maintenance"][0]["reason"] = HOSTILE
    document["incidents"][0]["procedure"] = HOSTILE
    text = page.render(document, "html", EN, facts)
    assert "<script" not in text
    assert "\x1b" not in text
    assert check(text, "en").text.count("<script>alert(1)</script>") >= 3
    tokens = MARKDOWN.parse(page.render(document, "md", EN, facts))
    assert not [t for t in tokens if t.type.startswith("html")]
    assert not [
        c for t in tokens if t.type == "inline" for c in t.children or [] if c.type.startswith(("html", "code"))
    ]


# ------------------------------------------------------------------ colours


def palettes() -> dict[str, dict[str, str]]:
    style = (Path(page.__file__).parents[2] / "reports" / "templates" / "sla_style.html.j2").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    found = {}
    for name, block in (("light", light), ("dark", dark)):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", block))
        assert len(colours) > 20
        found[name] = colours
    assert found["light"].keys() == found["dark"].keys()
    return found


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[number : number + 2], 16) / 255 for number in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2: from 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_measured_as_the_standard_says() -> None:
    assert contrast("#000", "#fff") == pytest.approx(21)
    assert contrast("#767676", "#fff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_graphics_stand_out_from_what_is_behind_them(scheme: str) -> None:
    colours = palettes()[scheme]
    text = [(ink, ground) for ink in ("ink", "soft") for ground in ("paper", "sheet")]
    for tone in ("good", "warn", "bad", "unknown"):
        text += [(tone, "paper"), (tone, f"{tone}-sheet"), ("ink", f"{tone}-sheet"), ("soft", "good-sheet")]
    text += [("planned-ink", "paper"), ("planned-ink", "unknown-sheet"), ("soft", "unknown-sheet"), ("paper", "down")]
    weak = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in text}
    assert {pair: value for pair, value in weak.items() if value < 4.5} == {}
    drawn = ("up", "down", "planned", "gap", "first", "second", "third", "goal")
    assert {ink for ink in drawn if contrast(colours[ink], colours["paper"]) < 3} == set()


# ------------------------------------------------------------------ Markdown, JSON, files


@pytest.mark.parametrize("name", ["2026-10-13", "2026-10"])
@pytest.mark.parametrize("tr", [PT, EN], ids=lambda tr: tr.tag)
def test_markdown_has_whole_tables(name: str, tr: Translator) -> None:
    document, facts = made(name)
    text = page.render(document, "md", tr, facts)
    tokens = MARKDOWN.parse(text)
    assert not [token for token in tokens if token.type.startswith("html")]
    assert sum(token.type == "table_open" for token in tokens) >= 2
    rows = re.findall(r"(?m)^\|.*$", text)
    assert all(row.endswith("|") for row in rows)
    assert "\n\n\n" not in text
    assert text.startswith("# ")
    assert text.count("\n# ") == 0


def test_markdown_ticks_what_is_proven_only() -> None:
    document, facts = made("2026-10")
    text = page.render(document, "md", EN, facts)
    ticked = re.findall(r"(?m)^- \[x\] (.*?) —", text)
    left = re.findall(r"(?m)^- \[ \] (.*?) —", text)
    assert "Test suite passed in full" in ticked
    assert "Health check passed" in left
    assert "Service levels met" in left


@pytest.mark.parametrize("name", ["2026-10-13", "2026-10"])
def test_json_is_the_document_and_its_words(name: str) -> None:
    document, facts = made(name)

    def refuse(text: str) -> Any:
        raise AssertionError(text)

    found = json.loads(page.render(document, "json", PT, facts), parse_constant=refuse)
    rendered = found.pop("rendered")
    assert found == json.loads(json.dumps(document))
    assert [sla["id"] for sla in rendered["slas"]] == [sla["id"] for sla in document["slas"]]
    assert "svg" not in json.dumps(rendered)


def test_files_are_private_whole_and_linked(tmp_path: Path) -> None:
    document, facts = made("2026-10")
    document["host"] = "../evil host"
    written = page.write(document, reports_dir=tmp_path / "reports", tr=EN, facts=facts)
    assert set(written) == {"md", "html", "json"}
    for fmt, path in written.items():
        file = Path(path)
        assert file.name == f"sla-2026-10.{fmt}"
        assert file.parent.parent == tmp_path / "reports"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert (file.parent / f"latest-sla-month.{fmt}").resolve() == file.resolve()
    assert len(list(Path(written["md"]).parent.iterdir())) == 6


def test_a_rolling_period_is_linked_by_its_name(tmp_path: Path) -> None:
    plan = known.built(periods.parse("7d", now=NOW, timezone=known.ZONE), NOW, 300.0, known.Plan())
    written = page.write(known.document(plan), reports_dir=tmp_path, tr=EN)
    assert Path(written["html"]).name == "sla-7d.html"
    assert (tmp_path / known.HOST / "latest-sla-7d.html").exists()


def test_what_cannot_be_written_or_laid_out_is_an_error(tmp_path: Path) -> None:
    document, _ = made("2026-10")
    (tmp_path / known.HOST).write_text("in the way")
    with pytest.raises(OSError):
        page.write(document, reports_dir=tmp_path, tr=EN)
    with pytest.raises(ValueError, match="no report format 'pdf'"):
        page.render(document, "pdf", EN)
    with pytest.raises(ValueError, match="no beginning and end"):
        page.render({**document, "period": {"name": "x"}}, "md", EN)
