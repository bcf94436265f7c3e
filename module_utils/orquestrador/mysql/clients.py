"""Which programs dump and restore a product, and with which options: differences as data."""

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
    """A dump option and the client versions (major, minor) that know it, from and up to before."""

    text: str
    since: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (999, 0)


class Product(NamedTuple):
    """How one product is dumped and restored. Names of programs in order of preference."""

    name: str
    dumpers: tuple[str, ...]
    clients: tuple[str, ...]
    servers: tuple[str, ...]
    options: tuple[Option, ...]
    uuid: str  # expression that identifies the server


# One consistent snapshot, no locks; rows by primary key, so that a second dump of the same data has the same bytes;
# no --databases, whose USE would send a test restore to the database in production.
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
    "mysql": Product(
        "mysql",
        ("mysqldump",),
        ("mysql",),
        ("mysqld",),
        (
            *_COMMON,
            Option("--set-gtid-purged=OFF", since=(5, 6)),
            # Statistics of the source are no data; the client's default changed between versions.
            Option("--skip-column-statistics", since=(8, 0)),
        ),
        "@@server_uuid",
    ),
    "mariadb": Product(
        "mariadb",
        ("mariadb-dump", "mysqldump"),
        ("mariadb", "mysql"),
        ("mariadbd", "mysqld"),
        _COMMON,
        "@@hostname",
    ),
}


class Dumper(NamedTuple):
    """A dump program that fits the server: its path, version, and the options it takes."""

    path: str
    version: str
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its process is called."""
        return os.path.basename(self.path)

    def command(self, access: Sequence[str], schema: str, options: Optional[Sequence[str]] = None) -> list[str]:
        """Its argv. It would write 4 KB at a time, and every write into a pipe wakes the reader: a fifth of its time.

        :param access: options that say where the server is and who asks; they have to come first.
        :param options: those of an earlier dump, instead of its own.
        """
        stdbuf = find(("stdbuf",))
        wider = [] if stdbuf is None else [stdbuf, f"--output={WRITE_BYTES}"]
        return [*wider, self.path, *access, *(self.options if options is None else options), "--", schema]


def parse_version(line: str) -> Optional[tuple[str, tuple[int, int]]]:
    """``(product, (major, minor))`` of what ``--version`` prints; ``None`` when it is neither product's."""
    for product, pattern in (("mariadb", _MARIADB), ("mysql", _MYSQL)):
        found = pattern.search(line)
        if found and (product == "mariadb" or "mariadb" not in line.lower()):
            return product, (int(found.group(1)), int(found.group(2)))
    return None


def options_for(product: Product, version: tuple[int, int]) -> tuple[str, ...]:
    """The options that this version of the product's dump program knows."""
    return tuple(option.text for option in product.options if option.since <= version < option.before)


def find(programs: tuple[str, ...], which: Callable[[str], Optional[str]] = shutil.which) -> Optional[str]:
    """The first program that is installed; servers lie where an account's PATH does not look."""
    for program in programs:
        for candidate in (program, f"/usr/sbin/{program}", f"/usr/libexec/{program}"):
            path = which(candidate)
            if path:
                return path
    return None


def _installed(programs: tuple[str, ...]) -> str:
    path = find(programs)
    if path is None:
        raise OperatorError(
            msg("{programs} is not installed: install the client of the database", programs=programs[0])
        )
    return path


def find_client(product: Product) -> str:
    """The product's client; :class:`OperatorError` when there is none."""
    return _installed(product.clients)


def find_dumper(product: Product) -> Dumper:
    """The product's dump program with its options; :class:`OperatorError` when there is none that fits."""
    path = _installed(product.dumpers)
    done = run([path, "--version"], timeout_s=VERSION_TIMEOUT_S)
    line = done.stdout.decode("utf-8", "replace").strip()
    parsed = parse_version(line)
    if parsed is None or parsed[0] != product.name:
        raise OperatorError(
            msg("{path} is not the dump program of {product}: install its client", path=path, product=product.name)
        )
    return Dumper(path, line, options_for(product, parsed[1]))


def need(program: str) -> str:
    """The path of a program of ours; :class:`OperatorError` when it is missing."""
    path = find((program,))
    if path is None:
        raise OperatorError(msg("{program} is not installed: run the setup playbook", program=program))
    return path
