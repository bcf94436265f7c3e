"""What an operator asks for: language, project, extra variables, budgets. Whatever can't be is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.cli import project, words
from orquestrador_ops.cli.runner import extra_vars
from orquestrador_ops.cli.words import CliError


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The least that is a project."""
    (tmp_path / "ansible.cfg").write_text("[defaults]\ninventory = inv/a.yml, inv/b\nforks = 7\n")
    for name, text in {
        "routine/daily.yml": "- hosts: all\n  vars: {report_budget_s: 90}\n",
        "operation/backup.yml": "- hosts: all\n  vars:\n    report_budget_s: '{{ 3 * 4 }}'\n",
        "operation/several.yml": "- hosts: a\n  vars: {report_budget_s: 5}\n- hosts: b\n  vars: {report_budget_s: 7}\n",
        "setup/bare.yml": "- hosts: all\n",
        "setup/broken.yml": "- hosts: [\n",
        "operation/daily.yml": "- hosts: all\n",
    }.items():
        path = tmp_path / "playbooks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("environ", "locale"),
    [
        ({}, "pt_BR"),
        ({"LANG": "C.UTF-8"}, "pt_BR"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "en"}, "en"),
        ({"LANG": "pt_PT.UTF-8"}, "pt_BR"),
        ({"LANG": "de_DE.UTF-8"}, "pt_BR"),
        ({"LC_ALL": "pt_BR.UTF-8", "LANG": "en_US.UTF-8"}, "pt_BR"),
        ({"OPS_LOCALE": "en", "LC_ALL": "pt_BR.UTF-8"}, "en"),
        ({"OPS_LOCALE": "tlh", "LANG": "en_GB"}, "en"),
    ],
)
def test_language_of_the_terminal(environ: dict[str, str], locale: str) -> None:
    assert words.locale_of(environ) == locale


@given(st.dictionaries(st.sampled_from(["OPS_LOCALE", "LC_ALL", "LANG"]), st.text(max_size=12)))
def test_any_environment_has_a_language(environ: dict[str, str]) -> None:
    assert words.locale_of(environ) in ("pt_BR", "en")


def test_project_is_found_from_below_and_by_name(checkout: Path, tmp_path: Path) -> None:
    deep = checkout / "roles" / "x"
    deep.mkdir(parents=True)
    assert project.find({}, deep).root == checkout
    assert project.find({"OPS_PROJECT": str(checkout)}, Path("/")).root == checkout


def test_project_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CliError, match=r"OPS_PROJECT is .*: there is no ansible\.cfg"):
        project.find({"OPS_PROJECT": str(tmp_path)})
    monkeypatch.setattr(project.places, "PROJECT", tmp_path)
    with pytest.raises(CliError, match="name it in OPS_PROJECT"):
        project.find({}, tmp_path)


def test_procedures_by_name_and_by_directory(checkout: Path) -> None:
    here = project.Project(checkout)
    assert here.procedures == ["backup", "bare", "broken", "daily", "several"]
    assert here.playbook("routine/daily") == checkout / "playbooks/routine/daily.yml"
    assert here.playbook("operation/daily") == checkout / "playbooks/operation/daily.yml"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("dayli", "did you mean daily"),
        ("zzz", "use one of backup, bare"),
        ("../../etc/passwd", "there is no"),
        ("", "no"),
    ],
)
def test_unknown_procedure_names_what_there_is(checkout: Path, asked: str, said: str) -> None:
    with pytest.raises(CliError, match=said) as refused:
        project.Project(checkout).playbook(asked)
    assert refused.value.status == 2


@pytest.mark.parametrize(
    ("procedure", "variables", "seconds"),
    [
        ("routine/daily", {}, 90),
        ("routine/daily", {"report_budget_s": "12.5"}, 12.5),
        ("several", {}, 12),
        ("backup", {}, 10800),  # a template says nothing: its plan does
        ("bare", {}, project.DEFAULT_BUDGET_S),
    ],
)
def test_budget(checkout: Path, procedure: str, variables: dict[str, str], seconds: float) -> None:
    assert project.budget_s(project.Project(checkout).playbook(procedure), variables) == seconds


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf"])
def test_budget_that_is_none_is_refused(checkout: Path, value: str) -> None:
    with pytest.raises(CliError, match="report_budget_s is"):
        project.budget_s(project.Project(checkout).playbook("bare"), {"report_budget_s": value})


def test_playbook_that_is_no_yaml_is_refused_in_one_line(checkout: Path) -> None:
    with pytest.raises(CliError, match=r"broken\.yml cannot be read") as refused:
        project.budget_s(project.Project(checkout).playbook("broken"), {})
    assert "\n" not in str(refused.value)


def test_ansible_settings_that_a_run_needs(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)
    monkeypatch.delenv("ANSIBLE_FORKS", raising=False)
    here = project.Project(checkout)
    assert here.forks == 7
    assert here.inventories() == [checkout / "inv/a.yml", checkout / "inv/b"]
    (checkout / "ansible.cfg").write_text("[defaults\nforks = many")
    assert here.forks == project.DEFAULT_FORKS


def test_hosts_of_inventories_without_ansible(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(
        "all:\n  vars: {hosts: {no: }}\n  children:\n    g:\n      hosts:\n        web-01:\n          x: 1\n"
    )
    (tmp_path / "b").write_text("lone\n[g]\nweb-02 ansible_port=1\n# web-03\n[g:vars]\nx=1\n[all:children]\ng\n")
    (tmp_path / "c.yml").write_text("{[")
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    assert project.hosts([tmp_path]) == ["lone", "web-01", "web-02"]
    assert project.hosts([tmp_path / "nowhere"]) == []


@given(st.binary(max_size=200))
def test_no_inventory_is_too_strange_for_completion(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        for name in ("hosts.yml", "hosts"):
            (Path(directory) / name).write_bytes(content)
        project.hosts([Path(directory)])


@pytest.mark.parametrize(
    ("given_", "variables"),
    [
        (["a=1"], {"a": "1"}),
        (["a=1 b='two words'"], {"a": "1", "b": "two words"}),
        (["a=x=y"], {"a": "x=y"}),
        (["a="], {"a": ""}),
        (['{"a": [1, true]}'], {"a": [1, True]}),
        (["{a: b}"], {"a": "b"}),
        (["a=1", "a=2"], {"a": "2"}),
        (["backup_identity_file=/x"], {"backup_identity_file": "/x"}),
    ],
)
def test_extra_variables_as_ansible_takes_them(given_: list[str], variables: dict[str, object]) -> None:
    assert extra_vars.parse(given_) == (variables, [])


@pytest.mark.parametrize("text", ["", "a", "=1", "a=1 b", "'a=1", "[1, 2]", "{a", "@/nowhere/at/all"])
def test_what_is_no_variable_is_refused(text: str) -> None:
    with pytest.raises(CliError, match=r"^-e "):
        extra_vars.parse([text])


@pytest.mark.parametrize(
    "text", ["mysql_ops_password=x", '{"api_key": "x"}', "vault_token=x", "backup_age_identity=x", "senha_x=1"]
)
def test_secrets_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(CliError, match="would show a secret"):
        extra_vars.parse([text.replace("x", "hunter22")])


def test_files_are_left_for_ansible(tmp_path: Path) -> None:
    file = tmp_path / "vars.yml"
    file.write_text("mysql_ops_password: x\n")
    assert extra_vars.parse([f"@{file}"]) == ({}, [file])


@given(st.text(max_size=60))
def test_any_text_is_a_mapping_or_refused(text: str) -> None:
    try:
        variables, _ = extra_vars.parse([text])
    except CliError as refused:
        assert "\n" not in words.translated(refused.message) or "\n" in text
    else:
        assert all(isinstance(name, str) for name in variables)
