"""Programs that dump and restore each product, and their options."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from ..system.command import run

VERSION_TIMEOUT_S = 10.0
WRITE_BYTES = 1 << 18
_MARIADB = re.compile(r"(?:from|Distrib) (\d+)\.(\d+)(?:\.\d+)?[\w.]*-MariaDB", re.I)
_MYSQL = re.compile(r"(?:Ver|Distrib) (\d+)\.(\d+)\.\d+")


class Option(NamedTuple):
    """A dump option with the client versions (major, minor) that accept it: ``since`` inclusive, ``before`` not."""

    text: str
    since: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (999, 0)


class ProductTools(NamedTuple):
    """Programs of one product, in order of preference, and the options of its dump program."""

    name: str
    dumpers: tuple[str, ...]
    clients: tuple[str, ...]
    servers: tuple[str, ...]
    options: tuple[Option, ...]
    uuid: str  # expression that identifies the server


# One consistent snapshot without locks; rows by primary key, so that dumping the same data again gives the same bytes;
# no --databases: its USE statement would send a test restore to the production database.
_COMMON = (
    Option("--single-transaction"),
    Option("--quick"),
    Option("--order-by-primary"),
    Option("--routines"),
    Option("--triggers"),
    Option("--events"),
    Option("--hex-blob"),
    Option("--no-tablespaces"),
    Option("--tz-utc"),
    Option("--default-character-set=utf8mb4"),
    Option("--max-allowed-packet=1G"),
)
PRODUCTS = {
    "mysql": ProductTools(
        "mysql",
        ("mysqldump",),
        ("mysql",),
        ("mysqld",),
        (
            *_COMMON,
            Option("--set-gtid-purged=OFF", since=(5, 6)),
            # The source's statistics are not data; the client's default changed between versions.
            Option("--skip-column-statistics", since=(8, 0)),
        ),
        "@@server_uuid",
    ),
    "mariadb": ProductTools(
        "mariadb",
        ("mariadb-dump", "mysqldump"),
        ("mariadb", "mysql"),
        ("mariadbd", "mysqld"),
        _COMMON,
        "@@hostname",
    ),
}


class Dumper(NamedTuple):
    """A dump program of the server's product: its path, version and options."""

    path: str
    version: str
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its process."""
        return os.path.basename(self.path)

    def command(self, access: Sequence[str], schema: str, options: Optional[Sequence[str]] = None) -> list[str]:
        """Return its argv, with larger writes: by default it writes 4 KB at a time, which costs a fifth of its time.

        :param access: options for the server and the account; they must come first.
        :param options: those of an earlier dump, instead of its own.
        """
        stdbuf = find_program(("stdbuf",))
        prefix = [] if stdbuf is None else [stdbuf, f"--output={WRITE_BYTES}"]
        return [*prefix, self.path, *access, *(self.options if options is None else options), "--", schema]


def parse_version(line: str) -> Optional[tuple[str, tuple[int, int]]]:
    """Return ``(product, (major, minor))`` of the output of ``--version``; ``None`` for another program."""
    for product, pattern in (("mariadb", _MARIADB), ("mysql", _MYSQL)):
        match = pattern.search(line)
        if match and (product == "mariadb" or "mariadb" not in line.lower()):
            return product, (int(match.group(1)), int(match.group(2)))
    return None


def options_for(product: ProductTools, version: tuple[int, int]) -> tuple[str, ...]:
    """Return the options that this version of the product's dump program accepts."""
    return tuple(option.text for option in product.options if option.since <= version < option.before)


def find_program(programs: tuple[str, ...], which: Callable[[str], Optional[str]] = shutil.which) -> Optional[str]:
    """Return the path of the first installed program; servers are in directories outside a user's PATH."""
    for program in programs:
        for candidate in (program, f"/usr/sbin/{program}", f"/usr/libexec/{program}"):
            path = which(candidate)
            if path:
                return path
    return None


def _installed(programs: tuple[str, ...]) -> str:
    path = find_program(programs)
    if path is None:
        raise OperatorError(
            msg("{programs} is not installed: install the client of the database", programs=programs[0])
        )
    return path


def find_client(product: ProductTools) -> str:
    """Return the path of the product's client; :class:`OperatorError` when it is not installed."""
    return _installed(product.clients)


def find_dumper(product: ProductTools) -> Dumper:
    """Return the product's dump program with its options; :class:`OperatorError` when it is not installed."""
    path = _installed(product.dumpers)
    result = run([path, "--version"], timeout_s=VERSION_TIMEOUT_S)
    line = result.stdout.decode("utf-8", "replace").strip()
    parsed = parse_version(line)
    if parsed is None or parsed[0] != product.name:
        raise OperatorError(
            msg("{path} is not the dump program of {product}: install its client", path=path, product=product.name)
        )
    return Dumper(path, line, options_for(product, parsed[1]))


def require_program(program: str) -> str:
    """Return the path of a program that setup installs; :class:`OperatorError` when it is missing."""
    path = find_program((program,))
    if path is None:
        raise OperatorError(msg("{program} is not installed: run the setup playbook", program=program))
    return path
