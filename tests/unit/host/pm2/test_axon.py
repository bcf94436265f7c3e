"""The wire format of PM2's RPC socket, and calls over it against servers that misbehave."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.pm2 import axon
from tests.unit.fakes import servers

ARGUMENTS = st.lists(st.binary(max_size=200), max_size=15)


@given(ARGUMENTS)
def test_what_was_encoded_is_decoded(arguments: list[bytes]) -> None:
    assert axon.decode(axon.encode(arguments)) == arguments


@given(ARGUMENTS.filter(len), st.data())
def test_a_part_of_a_frame_is_incomplete_and_never_an_error(arguments: list[bytes], data: st.DataObject) -> None:
    whole = axon.encode(arguments)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert axon.decode(whole[:cut]) is None


@given(st.binary(max_size=300))
def test_arbitrary_bytes_decode_or_are_rubbish(data: bytes) -> None:
    try:
        arguments = axon.decode(data)
    except axon.AxonError as error:
        assert error.code == "rubbish"
    else:
        assert arguments is None or all(isinstance(argument, bytes) for argument in arguments)


@given(st.lists(st.one_of(st.binary(max_size=50), st.binary(max_size=50).map(lambda data: b"j:" + data)), max_size=3))
def test_arbitrary_replies_give_a_value_or_a_named_error(arguments: list[bytes]) -> None:
    try:
        axon.parse_reply(arguments)
    except axon.AxonError as error:
        assert error.code in {"rubbish", "not_json", "remote_error"}


def test_the_frame_is_the_one_that_pm2_reads() -> None:
    assert axon.encode([b"j:{}", b"s:1:0"]) == servers.frame(b"j:{}", b"s:1:0")


@pytest.mark.parametrize(
    ("argument", "value"),
    [(b'j:{"a":[1]}', {"a": [1]}), (b"s:1:0", "1:0"), (b"\x00raw", b"\x00raw"), (b"s:\xff", "�")],
)
def test_arguments_have_types(argument: bytes, value: object) -> None:
    assert axon.parse_argument(argument) == value


@pytest.mark.parametrize(
    ("reply", "value"), [({"args": [[1]]}, [1]), ({"args": [None, [1]]}, [1]), ({"args": [None]}, None)]
)
def test_the_result_is_found_in_both_orders(reply: object, value: object) -> None:
    assert axon.parse_reply([b"j:" + json.dumps(reply).encode()]) == value


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        (b"j:{", "not_json"),
        (b"j:" + b"[" * 100_000, "not_json"),
        (b"j:[]", "rubbish"),
        (b'j:{"args":[]}', "rubbish"),
        (b'j:{"args":7}', "rubbish"),
        (b"s:hello", "rubbish"),
        (b'j:{"error":"DB_PASSWORD=hunter2secret"}', "remote_error"),
        (b'j:{"args":["failed",[]]}', "remote_error"),
    ],
)
def test_what_is_no_reply_has_a_named_error_that_quotes_nothing(argument: bytes, code: str) -> None:
    with pytest.raises(axon.AxonError) as caught:
        axon.parse_reply([argument])
    assert caught.value.code == code
    assert "hunter2" not in str(caught.value)


def test_a_call_reads_an_answer_that_comes_in_pieces(tmp_path: Path) -> None:
    reply = servers.pm2_reply([servers.pm2_process() for _ in range(50)])

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(65536)
        for at in range(0, len(reply), 4999):
            connection.sendall(reply[at : at + 4999])

    with servers.unix(tmp_path / "s", behave):
        assert len(axon.call(str(tmp_path / "s"), "getMonitorData", timeout_s=5)) == 50


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (servers.silent, "timeout"),
        (servers.answering(b""), "closed_early"),
        (servers.answering(servers.pm2_reply([])[:-12]), "closed_early"),
        (servers.answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "rubbish"),
        (servers.answering(b"\x11\xff\xff\xff\xff"), "rubbish"),
        (servers.answering(b"\x21" + servers.pm2_reply([])[1:]), "rubbish"),
        (servers.answering(servers.frame(b"j:{oops")), "not_json"),
        (servers.dripping(b"\x11\x00\x10\x00\x00", b"x"), "timeout"),
    ],
)
def test_a_peer_that_misbehaves_is_told_apart_within_the_timeout(
    tmp_path: Path, behaviour: servers.Behaviour, code: str
) -> None:
    with servers.unix(tmp_path / "s", behaviour):
        began = time.monotonic()
        with pytest.raises(axon.AxonError) as caught:
            axon.call(str(tmp_path / "s"), "getMonitorData", timeout_s=0.3)
    assert caught.value.code == code
    assert time.monotonic() - began < 2


def test_what_can_not_be_connected_to_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        axon.call(str(tmp_path / "none"), "getMonitorData", timeout_s=0.3)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale"))
    stale.close()
    with pytest.raises(ConnectionRefusedError):
        axon.call(str(tmp_path / "stale"), "getMonitorData", timeout_s=0.3)
