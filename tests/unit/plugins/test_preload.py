"""What is loaded ahead: by whom it is inherited, and not where nobody would."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit import children
from tests.unit.fakes.loading import load

ROOT = Path(__file__).resolve().parents[3]
module = load("callback_plugins/preload.py")

Hooks = list[Callable[[], None]]


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """What would be done in the parent after the next fork."""
    found: Hooks = []

    def register(
        *, after_in_parent: Callable[[], None] | None = None, after_in_child: Callable[[], None] | None = None
    ) -> None:
        if after_in_parent:
            found.append(after_in_parent)

    monkeypatch.setattr(os, "register_at_fork", register)
    monkeypatch.setattr("gc.freeze", lambda: None)
    return found


@pytest.fixture
def plugin() -> Any:
    return module.CallbackModule()


def started(plugin: Any, action: str, *hosts: str) -> None:
    for host in hosts:
        plugin.v2_runner_on_start(host, SimpleNamespace(action=action, args={}))


def test_a_probe_loads_what_its_conclusion_needs(plugin: Any, hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr("orquestrador_ops.runs.lifecycle.preload", lambda: loaded.append("conclusion"))
    started(plugin, "ansible.builtin.command", "a", "b")
    assert hooks == []
    started(plugin, "health_probe", "a", "b")
    (hook,) = hooks
    hook()
    hook()
    assert loaded == ["conclusion"]


def test_charts_are_loaded_for_the_hosts_after_the_first(
    plugin: Any, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed: list[str] = []
    monkeypatch.setattr("orquestrador_ops.sla.report.page.warm", lambda tr: warmed.append(tr.locale))
    started(plugin, "sla_evaluate", "a", "a", "a")
    assert hooks == [], "one host, three periods: nobody would inherit them"
    started(plugin, "sla_evaluate", "b", "c")
    (hook,) = hooks
    hook()
    hook()
    assert warmed == ["pt_BR"]


def test_a_worker_ends_with_the_process_that_controls_it() -> None:
    """Also when that is killed, and although it has a session of its own."""
    with subprocess.Popen(
        children.command("worker_of_callback"), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}/stat").exists() and " Z " not in Path(f"/proc/{worker}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
