"""The health endpoint, answering with anything, slowly, or never."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.app import health_endpoint as http_health
from tests.unit.fakes import servers

GOOD = b'{"status":"ok","database":"connected","system":"healthy","timestamp":"2025-01-01T00:00:00Z","secret":"x"}'


def ask(port: int, **changes: Any) -> tuple[Any, list[str]]:
    options = {"requests": 2, "timeout_s": 2.0, "request_timeout_s": 0.4, **changes}
    state, findings = http_health.collect(f"http://127.0.0.1:{port}/api/health", **options)
    json.dumps(state, allow_nan=False).encode()
    return state, [item["code"] for item in findings]


@pytest.mark.parametrize(
    ("body", "parsed", "codes"),
    [
        (GOOD, {"status": "ok", "database": "connected", "system": "healthy", "timestamp": "2025-01-01T00:00:00Z"}, []),
        (b"\xef\xbb\xbf" + b'{"status":"ok","database":"error"}', {"status": "ok", "database": "error"}, []),
        (b"<!DOCTYPE html><p>404", None, ["not_json"]),
        (b"", None, ["not_json"]),
        (b'{"status":', None, ["not_json"]),
        (b"\xff\xfe{}", None, ["invalid_utf8"]),
        (b"null", None, ["not_object"]),
        (b"[1,2]", None, ["not_object"]),
        (b'"ok"', None, ["not_object"]),
        (b"{}", {}, ["missing_keys"]),
        (b'{"status":"ok"}', {"status": "ok"}, ["missing_keys"]),
        (b'{"status":{"a":1},"database":null}', {}, ["wrong_type"]),
        (b'{"status":1,"database":true}', {"status": 1, "database": True}, []),
        (b'{"status":1e999,"database":"x"}', {"database": "x"}, ["wrong_type"]),
        (b'{"status":NaN,"database":"x"}', None, ["not_json"]),
        (b'{"status":%s,"database":"x"}' % (b"9" * 4000), {"database": "x"}, ["wrong_type"]),
        (b"[" * 60000, None, ["not_json"]),
        (b'{"status":"%s","database":"x"}' % (b"a" * 5000), {"status": "a" * 200, "database": "x"}, []),
        (b'{"status":"\\ud800","database":"x"}', {"status": "?", "database": "x"}, []),
    ],
)
def test_bodies(body: bytes, parsed: object, codes: list[str]) -> None:
    value, findings = http_health.parse_body(body)
    assert value == parsed
    assert [item["code"] for item in findings] == codes


@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=100).map(lambda text: json.dumps({"status": text}).encode()))
)
def test_any_body_is_parsed_to_what_can_be_sent(body: bytes) -> None:
    value, findings = http_health.parse_body(body)
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert value is not None or findings


def test_a_good_answer_is_timed_each_time() -> None:
    with servers.tcp(servers.http(GOOD)) as port:
        state, codes = ask(port, requests=3)
    assert codes == []
    assert (state["requests"], state["failures"], state["status"], state["error"]) == (3, 0, 200, None)
    assert len(state["latency_ms"]) == 3
    assert min(state["latency_ms"]) <= state["latency_median_ms"] <= max(state["latency_ms"])
    assert state["body"]["database"] == "connected"


def test_latency_is_until_the_body_is_complete() -> None:
    def slow_body(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GOOD))
        stop.wait(0.15)
        connection.sendall(GOOD)

    with servers.tcp(slow_body) as port:
        state, _ = ask(port, requests=1)
    assert state["latency_ms"][0] >= 150


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (servers.silent, "timeout"),
        (servers.dripping(b"", b"H"), "timeout"),
        (servers.dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x"), "timeout"),
        (servers.dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "), "timeout"),
        (servers.dripping(b"HTTP/1.1 200 OK\r\n\r\n", b" "), "timeout"),
        (servers.dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"), "timeout"),
        (servers.answering(b""), "closed_early"),
        (servers.answering(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"), "closed_early"),
        (servers.answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{"), "closed_early"),
        (servers.answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "closed_early"),
        (servers.answering(b"SSH-2.0-OpenSSH_9.2\r\n"), "bad_answer"),
        (servers.answering(b"HTTP/1.1 abc\r\n\r\n"), "bad_answer"),
        (servers.answering(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n"), "bad_answer"),
        (servers.answering(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000), "bad_answer"),
    ],
)
def test_no_complete_answer_is_a_named_failure_in_time_and_not_repeated(
    behaviour: servers.Behaviour, code: str
) -> None:
    began = time.monotonic()
    with servers.tcp(behaviour) as port:
        state, codes = ask(port)
        taken = time.monotonic() - began
    assert codes == [code]
    assert (state["requests"], state["failures"], state["error"]) == (1, 1, code)
    assert (state["status"], state["latency_median_ms"], state["body"]) == (None, None, None)
    assert taken < 2


@pytest.mark.parametrize(
    ("behaviour", "status", "codes"),
    [
        (servers.http(GOOD, status="500 Oops"), 500, []),
        (servers.http(b"Bad Gateway", status="502 Bad Gateway"), 502, ["not_json"]),
        (servers.http(b"", status="302 Found", headers="Location: /login?token=abc\r\n"), 302, ["redirect"]),
        (servers.http(b"x" * 10_000_000), 200, ["too_large"]),
        (servers.answering(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD), 200, []),
        (
            servers.answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
            200,
            ["missing_keys"],
        ),
        (servers.answering(b"HTTP/1.1 204 No Content\r\n\r\n"), 204, ["not_json"]),
    ],
)
def test_answers_that_are_complete_but_not_good(behaviour: servers.Behaviour, status: int, codes: list[str]) -> None:
    with servers.tcp(behaviour) as port:
        state, found = ask(port, request_timeout_s=2.0, timeout_s=8.0)
    assert (state["status"], state["failures"], found) == (status, 0, codes)


def test_a_redirect_is_not_followed_and_its_query_not_shown() -> None:
    behaviour = servers.http(b"", status="301 Moved", headers="Location: http://user:pw@h/x?token=abc\r\n")
    with servers.tcp(behaviour) as port:
        _, findings = http_health.collect(f"http://127.0.0.1:{port}/", requests=1, timeout_s=2, request_timeout_s=1)
    assert findings[0]["message"]["args"]["location"] == "http://h/x"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    state, codes = ask(port)
    assert (codes, state["error"], state["failures"]) == (["refused"], "refused", 1)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "ftp://h/x",
        "http://",
        "http://h:99999/",
        "http://h:x/",
        "http://h/\r\nX: y",
        "http://[::1",
        "http://h/é",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_url_is_a_finding(url: str) -> None:
    state, findings = http_health.collect(url, requests=1, timeout_s=1, request_timeout_s=1)
    assert ([item["code"] for item in findings], state["error"]) == (["bad_url"], "bad_url")


def test_credentials_and_query_of_the_url_are_used_but_not_shown() -> None:
    seen: list[bytes] = []

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GOOD) + GOOD)

    with servers.tcp(behave) as port:
        url = f"http://u:hunter2@127.0.0.1:{port}/h?token=abc"
        state, _ = http_health.collect(url, requests=1, timeout_s=2, request_timeout_s=1)
    assert state["url"] == f"http://127.0.0.1:{port}/h"
    assert seen[0].startswith(b"GET /h?token=abc HTTP/1.1\r\n")


def test_no_request_is_begun_that_could_not_have_its_whole_time() -> None:
    def ask_slowly(_parts: Any, deadline: float) -> http_health.Reply:
        time.sleep(0.06)
        return http_health.Reply(200, None, GOOD, False, 60.0, None)

    state, findings = http_health.collect(
        "http://h/", requests=50, timeout_s=0.2, request_timeout_s=0.1, ask=ask_slowly
    )
    assert 1 <= state["requests"] <= 3
    assert (state["failures"], findings) == (0, [])


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=20))
def test_the_median(values: list[float]) -> None:
    assert http_health.median(values) == pytest.approx(statistics.median(values), abs=0.01)


@pytest.mark.parametrize(
    ("statuses", "status"),
    [([200, 500, 200], 500), ([200, 200], 200), ([503, 302], 503), ([], None), ([204, 200], 200)],
)
def test_the_worst_status_is_reported(statuses: list[int], status: int | None) -> None:
    assert http_health.worst(statuses) == status


def test_a_certificate_that_is_not_trusted_is_a_finding(tmp_path: Path) -> None:
    import ssl

    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-days", "1", "-subj", "/CN=localhost", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    subprocess.run(argv, check=True, capture_output=True, timeout=20)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True):
            pass

    with servers.tcp(behave) as port:
        state, findings = http_health.collect(
            f"https://localhost:{port}/", requests=1, timeout_s=5, request_timeout_s=5
        )
    assert ([item["code"] for item in findings], state["failures"]) == (["tls"], 1)


def test_https_is_asked_when_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    argv += ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    subprocess.run(argv, check=True, capture_output=True, timeout=20)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "crt"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            request = secure.recv(65536)
            if b"/hang" in request:
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
                while not stop.wait(0.02):
                    secure.sendall(b" ")
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GOOD) + GOOD)

    with servers.tcp(behave) as port:
        state, findings = http_health.collect(
            f"https://localhost:{port}/", requests=1, timeout_s=5, request_timeout_s=5
        )
        assert (state["status"], findings) == (200, [])
        state, findings = http_health.collect(
            f"https://localhost:{port}/hang", requests=1, timeout_s=5, request_timeout_s=0.5
        )
        assert [item["code"] for item in findings] == ["timeout"]
