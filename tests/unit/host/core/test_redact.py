"""Secrets are found by value and by shape, what is no secret stays, and scrubbing twice is scrubbing once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core import redact

SECRET = "S3cr3t-v4lue"


@pytest.mark.parametrize(
    "text",
    [
        f"mysql://app:{SECRET}@127.0.0.1:3306/db",
        f"redis://:{SECRET}@h",
        f"amqp://u:pa/{SECRET}@h/v",
        f"password={SECRET}",
        f"DB_PASSWORD={SECRET}, host=x",
        f'{{"password":"{SECRET}","user":"a"}}',
        f'{{\\"apiKey\\":\\"{SECRET}\\"}}',
        f"{{ password: '{SECRET}', user: 'y' }}",
        f"api_key: {SECRET}",
        f"token => {SECRET}",
        f"?access_token={SECRET}&x=1",
        f'"secret": "cut {SECRET}',
        f"senha={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization: Basic {SECRET}",
        f"'authorization': '{SECRET}'",
        f"sent bearer {SECRET}abcdef",
        f"Set-Cookie: sid={SECRET}; Path=/",
        f"'set-cookie': [ 'sid={SECRET}' ]",
        f"mysqldump -u root -p{SECRET} db",
        f"CREATE USER x IDENTIFIED BY '{SECRET}'",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}",
    ],
)
def test_shapes_of_secrets_are_masked(text: str) -> None:
    assert SECRET not in redact.scrub_text(text)
    assert redact.MASK in redact.scrub_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_0123456789abcdefghijABCDEFGHIJ",
        "sk-proj-0123456789abcdefghij",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
    ],
)
def test_well_known_tokens_are_masked_whole(text: str) -> None:
    assert redact.scrub_text(f"x {text} y") == "x *** y"


@pytest.mark.parametrize(
    "text",
    [
        "Error: connect ECONNREFUSED 127.0.0.1:3306",
        "http://127.0.0.1:3001/api/users/a@b.example",
        "Access denied for user 'app'@'localhost' (using password: YES)",
        "ssh://git@example.org/repo",
        "tests passed: 28",
        "bypass: on",
        "Unexpected token < in JSON at position 0",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "2025-11-01 09:00:00 +00:00: at /home/flavio/webapp/dist/server/index.js:12:3",
        "password: ",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact.scrub_text(text) == text


def test_exact_values_are_masked_everywhere_and_longest_first() -> None:
    value = {"a": ["x hunter2hunter2 y", {"hunter2key!": 1}], "n": 5, "b": None, "t": True, "f": 1.5}
    assert redact.scrub(value, ["hunter2", "hunter2hunter2"]) == {
        "a": ["x *** y", {"***key!": 1}],
        "n": 5,
        "b": None,
        "t": True,
        "f": 1.5,
    }


def test_short_values_are_left_alone() -> None:
    assert redact.scrub("root 12345", ["root", "12345"]) == "root 12345"


def test_fields_named_like_secrets_lose_their_text() -> None:
    assert redact.scrub({"db_password": "short", "api_key": "", "count": 3}, []) == {
        "db_password": "***",
        "api_key": "",
        "count": 3,
    }


def test_the_literal_of_a_message_stays_a_translation_key() -> None:
    message = {"text": "refuses the password: {error}", "args": {"error": "password: hunter22"}}
    assert redact.scrub(message, []) == {
        "text": "refuses the password: {error}",
        "args": {"error": "password: ***"},
    }


def test_depth_and_length_are_bounded() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    redact.scrub(deep, [])
    assert len(redact.scrub("a" * (redact.MAX_TEXT * 3), [])) == redact.MAX_TEXT
    straddling = "." * (redact.MAX_TEXT - 8) + "hunter2hunter2" + "." * 9999
    assert "hunter" not in redact.scrub(straddling, ["hunter2hunter2"])


def test_secrets_of_an_env_file(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text(
        "# PASSWORD=commented\n"
        "DB_HOST=localhost\nDB_USER=flavio_user\n"
        "DB_PASSWORD=plain-value # a comment\n"
        "export JWT_SECRET='single quoted'\r\n"
        'API_TOKEN="double \\"quoted\\""\n'
        "SHORT_KEY=abc\n"
        "DATABASE_URL=mysql://u:p%40ssw0rd@h/db\n"
        "PUBLIC_URL=http://example.org/a\n"
        "SENTRY_DSN=https-dsn-value\n"
        "CACHE_KEY=memory\n"
        'PRIVATE_KEY="-----BEGIN KEY-----\nline-one-of-key\n-----END KEY-----"\n'
        'BROKEN_TOKEN="never closed\n'
        "AFTER_TOKEN=still-seen\n"
    )
    secrets = redact.load_secrets(str(env))
    for value in (
        "plain-value",
        "single quoted",
        'double "quoted"',
        "mysql://u:p%40ssw0rd@h/db",
        "p%40ssw0rd",
        "p@ssw0rd",
        "https-dsn-value",
        "line-one-of-key",
        "never closed",
        "still-seen",
    ):
        assert value in secrets
    for value in ("localhost", "flavio_user", "abc", "http://example.org/a", "memory"):
        assert value not in secrets
    assert secrets == sorted(secrets, key=lambda value: (-len(value), value))


def test_env_files_that_are_none(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)) * 10)
    for path in (tmp_path / "missing", tmp_path, fifo, "a\0b", ""):
        assert redact.load_secrets(str(path)) == []
    redact.load_secrets(str(binary))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=60),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=12), children, max_size=4),
    max_leaves=10,
)
# Pieces that the patterns are made of, so that the search finds their seams.
PIECES = st.lists(
    st.sampled_from(
        [
            *("password", "token", "=", ":", " ", '"', "'", "\\", "***", "*", "://", "u:", "@", "a.b", "Bearer "),
            *("cookie", "authorization", "secret", ",", "k=", "x" * 20, "-----BEGIN A-----", "mysql -p"),
            *("identified by '", "eyJabcdef.", "basic ", "\n", "{", "hunter2", "h", "}", "set-"),
        ]
    ),
    max_size=12,
).map("".join)


@given(PIECES | st.text(max_size=80), st.lists(st.text(min_size=6, max_size=12) | st.just("hunter2"), max_size=3))
def test_scrubbing_twice_is_scrubbing_once(text: str, secrets: list[str]) -> None:
    once = redact.scrub(text, secrets)
    assert redact.scrub(once, secrets) == once


@given(JSON, st.lists(st.text(max_size=12), max_size=3))
def test_any_json_is_scrubbed_into_the_same_shape(value: object, secrets: list[str]) -> None:
    scrubbed = redact.scrub(value, secrets)
    assert type(scrubbed) is type(value)
    assert redact.scrub(scrubbed, secrets) == scrubbed


@given(st.text(max_size=30), st.text(alphabet="abcXYZ019!$%", min_size=6, max_size=20), st.text(max_size=30))
def test_no_exact_secret_survives(before: str, secret: str, after: str) -> None:
    assert secret not in redact.scrub(before + secret + after, [secret])


@given(st.text(max_size=200))
def test_any_env_text_parses(text: str) -> None:
    for key, value in redact.parse_env(text):
        assert key and isinstance(value, str)
