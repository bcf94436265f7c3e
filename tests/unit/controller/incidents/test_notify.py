"""Telling through channels that work, fail, hang or are none, and never a word of their address."""

from __future__ import annotations

import http.server
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from orquestrador_ops.incidents import notify

SECRET = "t0kenOfAChannel"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def webhook() -> Iterator[tuple[int, list[dict[str, Any]], dict[str, int]]]:
    calls: list[dict[str, Any]] = []
    answer = {"status": 200}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            calls.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answer["status"], f"no {SECRET}")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], calls, answer
    server.shutdown()
    server.server_close()


@pytest.fixture
def silent() -> Iterator[int]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_one_is_told_whatever_the_others_do(
    webhook: Any, silent: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    port, calls, _ = webhook
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    started = time.monotonic()
    with caplog.at_level(logging.DEBUG):
        said = notify.deliver(
            {
                "good": f"json://127.0.0.1:{port}/{SECRET}",
                "refused": f"json://127.0.0.1:{nobody}/{SECRET}",
                "hangs": f"json://127.0.0.1:{silent}/{SECRET}?rto=60",
                "unknown": f"nosuch://{SECRET}",
                "empty": "",
            },
            "title",
            "the body says: connection refused",
            limit_s=6,
        )
    assert time.monotonic() - started < 20
    assert {name: reason and reason["text"] for name, reason in said.items()} == {
        "good": None,
        "refused": "it can't be connected to",
        "hangs": "it did not take the message within {limit_s}",
        "unknown": "its address is none that Apprise understands: correct escalation_channels",
        "empty": "its address is none that Apprise understands: correct escalation_channels",
    }
    assert [(call["title"], call["message"]) for call in calls] == [("title", "the body says: connection refused")]
    printed = capfd.readouterr()
    assert SECRET not in json.dumps(said) + caplog.text + printed.out + printed.err


def test_a_service_that_refuses_is_told_by_its_status_alone(webhook: Any) -> None:
    port, _, answer = webhook
    answer["status"] = 503
    said = notify.deliver({"a": f"json://127.0.0.1:{port}/{SECRET}"}, "t", "b")
    assert said == {"a": {"text": "the service refused the message (status {status})", "args": {"status": 503}}}


def test_nobody_to_tell_is_nothing_to_do() -> None:
    assert notify.deliver({}, "t", "b") == {}


@pytest.mark.parametrize(
    ("address", "kind"), [("mailto://a:b@c", "mailto"), (" JSONS://x", "jsons"), ("x", "?"), ("", "?")]
)
def test_kind_of_a_channel(address: str, kind: str) -> None:
    assert notify.kind(address) == kind
