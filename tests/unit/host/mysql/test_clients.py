"""Products, versions and their options as data."""

from __future__ import annotations

import pytest

from orquestrador.backup.keys import check_recipient
from orquestrador.core.errors import OperatorError
from orquestrador.mysql import clients

PUBLIC = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", ("mysql", (9, 7))),
        ("mysqldump  Ver 8.0.39 for Linux on x86_64 (MySQL Community Server - GPL)", ("mysql", (8, 0))),
        ("mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)", ("mysql", (5, 7))),
        ("mysqldump  Ver 10.19 Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)", ("mariadb", (10, 11))),
        ("mariadb-dump from 11.8.3-MariaDB, client 10.19 for debian-linux-gnu (x86_64)", ("mariadb", (11, 8))),
        ("mysqldump: unknown option", None),
        ("", None),
    ],
)
def test_version(line: str, expected: tuple[str, tuple[int, int]] | None) -> None:
    assert clients.parse_version(line) == expected


@pytest.mark.parametrize(
    ("product", "version", "has", "lacks"),
    [
        ("mysql", (9, 7), {"--set-gtid-purged=OFF", "--skip-column-statistics"}, {"--databases"}),
        ("mysql", (5, 7), {"--set-gtid-purged=OFF"}, {"--skip-column-statistics"}),
        ("mariadb", (11, 8), {"--single-transaction"}, {"--set-gtid-purged=OFF", "--skip-column-statistics"}),
    ],
)
def test_options(product: str, version: tuple[int, int], has: set[str], lacks: set[str]) -> None:
    options = set(clients.options_for(clients.PRODUCTS[product], version))
    assert has <= options
    assert not lacks & options
    assert {"--single-transaction", "--routines", "--triggers", "--events", "--hex-blob"} <= options


def test_program_is_looked_for_in_order_and_beyond_the_path() -> None:
    installed = {"/usr/sbin/mysqld": "/usr/sbin/mysqld", "mysqldump": "/usr/bin/mysqldump"}
    assert clients.find_program(("mariadb-dump", "mysqldump"), installed.get) == "/usr/bin/mysqldump"
    assert clients.find_program(("mysqld",), installed.get) == "/usr/sbin/mysqld"
    assert clients.find_program(("nothing",), installed.get) is None


def test_public_key_is_accepted() -> None:
    check_recipient(PUBLIC)


@pytest.mark.parametrize(
    "key", ["", "age1", PUBLIC[:-1], PUBLIC + "q", PUBLIC.upper(), f"{PUBLIC}\n-o/etc/passwd", "-r"]
)
def test_anything_else_is_refused(key: str) -> None:
    with pytest.raises(OperatorError, match="no public key"):
        check_recipient(key)


def test_private_key_is_refused_without_being_quoted() -> None:
    with pytest.raises(OperatorError, match="is a private key") as caught:
        check_recipient("AGE-SECRET-KEY-1QQPZRY9X8")
    assert "QQPZ" not in str(caught.value.message)
