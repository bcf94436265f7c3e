from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment, UndefinedError
from markdown_it import MarkdownIt

from orquestrador_ops.core.i18n import translator
from orquestrador_ops.core.text import clean
from orquestrador_ops.reports import view
from orquestrador_ops.reports import writer as report
from tests.unit.fakes.pages import Page

Run = tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]
PT, EN = translator("pt_BR"), translator("en")
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")


def rendered(run: Run, fmt: str, tr: Any = PT) -> str:
    return report.render(view.build(*run, tr), fmt, tr)


# ------------------------------------------------------------------ HTML


@pytest.mark.parametrize("name", ["healthy", "broken", "unreachable"])
@pytest.mark.parametrize(("tr", "lang"), [(PT, "pt-BR"), (EN, "en")])
def test_page_is_well_formed_self_contained_and_accessible(
    request: pytest.FixtureRequest, name: str, tr: Any, lang: str
) -> None:
    page = Page(rendered(request.getfixturevalue(name), "html", tr))
    tags = [tag for tag, _ in page.tags]
    attributes = [(tag, key, value) for tag, found in page.tags for key, value in found.items()]
    assert dict(page.tags)["html"] == {"lang": lang}
    assert {"header", "main", "h1", "title"} <= set(tags)
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(tags)
    assert not [a for a in attributes if a[1] in {"src", "href", "style", "action"} or a[1].startswith("on")]
    ids = [value for _, key, value in attributes if key == "id"]
    assert len(ids) == len(set(ids))
    assert {value for _, key, value in attributes if key == "aria-labelledby"} <= set(ids)
    assert all("scope" in found for tag, found in page.tags if tag == "th")


def test_page_is_not_fooled_by_what_a_host_says(broken: Run) -> None:
    text = rendered(broken, "html")
    assert "<script" not in text
    assert "<script>alert(1)</script>" in Page(text).text


def test_page_says_statuses_in_words(broken: Run) -> None:
    text = Page(rendered(broken, "html")).text
    for word in ("CRÍTICO", "FALHOU", "DESCONHECIDO", "ATENÇÃO", "FEITO", "Procedimento indicado"):
        assert word in text


@given(st.text())
def test_any_text_reads_as_it_is_in_html(text: str) -> None:
    record = {"host": "h", "procedure": "daily", "run_id": "r", "operator": text}
    page = Page(report.render(view.build(record, None, None, EN), "html", EN))
    assert " ".join(clean(text).split()) in page.text


# ------------------------------------------------------------------ Markdown


def inline_text(tokens: Any) -> str:
    return "".join(
        "\n" if token.type in {"softbreak", "hardbreak"} else token.content
        for token in tokens.children
        if token.type in {"text", "code_inline", "softbreak", "hardbreak"}
    )


HOSTILE_TEXT = st.text() | st.text("|\\`*_<>[]()#&;~$!-+=.1a \n\t{}:/", max_size=40)


@given(HOSTILE_TEXT)
def test_any_text_reads_as_it_is_in_a_markdown_cell(text: str) -> None:
    table = f"| a | b |\n|---|---|\n| {report.escape(text)} | end |\n"
    inlines = [token for token in MARKDOWN.parse(table) if token.type == "inline"]
    assert [inline_text(token) for token in inlines] == ["a", "b", clean(text).strip(), "end"]
    assert all(child.type == "text" for token in inlines for child in token.children or [])


@given(HOSTILE_TEXT)
def test_any_text_reads_as_it_is_in_a_markdown_paragraph(text: str) -> None:
    tokens = MARKDOWN.parse(str(report.escape(text)))
    assert {token.type for token in tokens} <= {"paragraph_open", "inline", "paragraph_close"}
    assert "".join(inline_text(token) for token in tokens if token.type == "inline") == clean(text).strip()


@given(HOSTILE_TEXT.filter(lambda text: clean(text).strip()))
def test_any_text_reads_as_it_is_in_a_markdown_code_span(text: str) -> None:
    (inline,) = [token for token in MARKDOWN.parse(f"x {report.code(text)} y") if token.type == "inline"]
    shown = [child.content for child in inline.children or [] if child.type == "code_inline"]
    assert [part.strip() for part in shown] == [clean(text).strip()]


def test_markdown_has_headings_and_whole_tables(broken: Run) -> None:
    text = rendered(broken, "md")
    assert text.startswith("# Rotina diária em web-01\n")
    tokens = MARKDOWN.parse(text)
    assert not [token for token in tokens if token.type.startswith("html")]
    assert sum(token.type == "table_open" for token in tokens) >= 5
    rows = re.findall(r"(?m)^\|.*$", text)
    assert all(row.endswith("|") for row in rows)
    assert "\\<script\\>" in text
    assert "\n\n\n" not in text


# ------------------------------------------------------------------ JSON


@pytest.mark.parametrize("name", ["healthy", "broken", "unreachable"])
def test_json_is_strict_and_has_stable_keys(request: pytest.FixtureRequest, name: str) -> None:
    run = request.getfixturevalue(name)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = rendered(run, "json")
    text.encode("utf-8")
    document = json.loads(text, parse_constant=refuse)
    assert list(document) == ["record", "rendered", "schema", "snapshot", "verdict"]
    assert document["schema"] == 1
    assert document["record"]["run_id"] == run[0]["run_id"]
    assert document["rendered"]["lang"] == "pt-BR"
    assert len(document["rendered"]["steps"]) == 6


def test_json_carries_no_nan_and_only_the_name_of_the_previous_run(healthy: Run) -> None:
    record, snapshot, verdict = healthy
    assert snapshot is not None
    snapshot["http"]["latency_median_ms"] = float("nan")
    record["previous_run"] = {"run_id": "x", "started_at": "s", "outcome": "met", "verdict_after": {"big": 1}}
    document = json.loads(rendered((record, snapshot, verdict), "json"))
    assert document["snapshot"]["http"]["latency_median_ms"] is None
    assert document["record"]["previous_run"] == {"run_id": "x", "started_at": "s", "outcome": "met"}


# ------------------------------------------------------------------ files


def test_written_files_are_private_named_and_linked(tmp_path: Path, healthy: Run) -> None:
    written = report.write(view.build(*healthy, PT), reports_dir=tmp_path / "reports", tr=PT)
    directory = tmp_path / "reports" / "web-01"
    for fmt, path in written.items():
        assert Path(path) == directory / f"daily-20261122T120000Z-abc123.{fmt}"
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert (directory / f"latest-daily.{fmt}").resolve() == Path(path).resolve()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert len(list(directory.iterdir())) == 6


def test_hostile_names_stay_in_the_reports_directory(tmp_path: Path, healthy: Run) -> None:
    record, snapshot, verdict = healthy
    record.update(host="../../evil", run_id="../x", procedure="a/b")
    written = report.write(view.build(record, snapshot, verdict, PT), reports_dir=tmp_path / "reports", tr=PT)
    assert all((tmp_path / "reports").resolve() in Path(path).resolve().parents for path in written.values())
    assert [path.name for path in tmp_path.iterdir()] == ["reports"]


def test_report_that_cannot_be_written_is_an_os_error(tmp_path: Path, healthy: Run) -> None:
    (tmp_path / "reports").write_text("")
    with pytest.raises(OSError):
        report.write(view.build(*healthy, PT), reports_dir=tmp_path / "reports", tr=PT)


def test_unknown_format_names_the_known_ones(healthy: Run) -> None:
    with pytest.raises(ValueError, match="md, html, json"):
        rendered(healthy, "pdf")


@pytest.mark.parametrize("fmt", ["md", "html"])
@pytest.mark.parametrize("lacking", ["since", "title", "facts", "tables"])
def test_template_that_asks_for_what_is_not_there_fails(healthy: Run, fmt: str, lacking: str) -> None:
    lacks = view.build(*healthy, PT)
    del lacks[lacking]
    with pytest.raises(UndefinedError):
        report.render(lacks, fmt, PT)


def test_templates_are_compiled_once(monkeypatch: pytest.MonkeyPatch, healthy: Run) -> None:
    report.warm(PT)
    monkeypatch.setattr(Environment, "get_template", lambda *_: pytest.fail("compiled again"))
    rendered(healthy, "md")
    rendered(healthy, "html")


@settings(max_examples=30)
@given(st.sampled_from(report.FORMATS), st.recursive(st.none() | st.text() | st.floats(), st.lists, max_leaves=4))
def test_no_verdict_breaks_a_report(fmt: str, odd: Any) -> None:
    record = {"host": odd, "procedure": "daily", "run_id": odd, "steps": odd, "failure": odd, "previous_run": odd}
    verdict = {"overall": odd, "checks": odd, "reasons": odd, "procedure": odd}
    report.render(view.build(record, {"errors": odd, "logs": odd}, verdict, PT), fmt, PT).encode("utf-8")
