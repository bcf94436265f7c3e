"""Whether the application's own account is let in: with the credentials that the application has, as it would use them.

What the operations account sees says nothing about the application's: another password, another host, other rights. The
log tells what was wrong when it last tried; this tells what would happen if it tried now, which is what decides whether
starting it again helps.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional
from urllib.parse import unquote, urlsplit

from ..core import redact
from . import driver

MAX_ENV_BYTES = 1 << 18
# Names that applications give their settings, in order of preference.
_NAMES = {
    "host": ("DB_HOST", "MYSQL_HOST", "DATABASE_HOST"),
    "port": ("DB_PORT", "MYSQL_PORT", "DATABASE_PORT"),
    "user": ("DB_USER", "DB_USERNAME", "MYSQL_USER", "DATABASE_USER"),
    "password": ("DB_PASSWORD", "DB_PASS", "MYSQL_PASSWORD", "DATABASE_PASSWORD"),
    "name": ("DB_NAME", "DB_DATABASE", "MYSQL_DATABASE", "DATABASE_NAME"),
    "socket": ("DB_SOCKET", "MYSQL_SOCKET", "MYSQL_UNIX_PORT"),
}
_URLS = ("DATABASE_URL", "DB_URL", "MYSQL_URL")


class Account(NamedTuple):
    """How the application reaches its database."""

    host: str
    port: int
    user: str
    password: str
    name: str
    socket: str


def account_from(settings: Mapping[str, str]) -> Optional[Account]:
    """The account that an application's settings name; ``None`` when they name none."""
    for url in _URLS:
        if settings.get(url):
            with contextlib.suppress(ValueError):
                parts = urlsplit(settings[url])
                if parts.scheme.startswith(("mysql", "mariadb")) and parts.username:
                    user, password = unquote(parts.username), unquote(parts.password or "")
                    host, port = parts.hostname or "127.0.0.1", parts.port or 3306
                    return Account(host, port, user, password, parts.path.lstrip("/"), "")
    found = {kind: next((settings[n] for n in names if settings.get(n)), "") for kind, names in _NAMES.items()}
    if not found["user"]:
        return None
    port = int(found["port"]) if found["port"].isdigit() else 3306
    return Account(found["host"] or "127.0.0.1", port, found["user"], found["password"], found["name"], found["socket"])


def settings(env_file: str, pids: list[int], proc: str = "/proc") -> dict[str, str]:
    """What the application is told: its ``.env``, and above that what its process was started with."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        fd = os.open(env_file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                found.update(redact.parse_env(file.read(MAX_ENV_BYTES).decode("utf-8", "replace")))
    wanted = {name for names in _NAMES.values() for name in names} | set(_URLS)
    for pid in pids[:1]:
        with contextlib.suppress(OSError), open(f"{proc}/{pid}/environ", "rb") as file:
            pairs = (item.partition("=") for item in file.read(MAX_ENV_BYTES).decode("utf-8", "replace").split("\0"))
            found.update({name: value for name, _, value in pairs if name in wanted})
    return found


def resolve(host: str, timeout_s: float) -> list[str]:
    """The addresses of a name; the resolver knows no time limit of its own, so it is left behind at ours."""
    found: list[str] = []
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]

    def ask() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.extend(str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return list(dict.fromkeys(found))


def _own(address: str) -> bool:
    try:
        if ipaddress.ip_address(address).is_loopback:
            return True
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except (OSError, ValueError):
        return False
    return True


def attempt(account: Account, server_socket: Optional[str], timeout_s: float) -> dict[str, Any]:
    """Try to log in: ``{host, port, user, database, local, result}``, without the password.

    ``result`` is ``ok``, ``unknown_host``, ``refused`` or ``timeout`` of the address, a reason of
    :func:`.driver.reason_of`, or ``unknown`` where this Python can't log in as the account has to. A local server is
    asked over its socket once its address is known to be open, since passwords go over that without TLS.
    """
    told: dict[str, Any] = {"host": account.host, "port": account.port, "user": account.user, "database": account.name}
    path = account.socket
    if path:
        told["local"] = True
    else:
        addresses = resolve(account.host, timeout_s)
        told["local"] = any(_own(address) for address in addresses) if addresses else None
        wrong = _listens(addresses, account.port, timeout_s)
        if wrong is not None:
            return {**told, "result": wrong}
        if told["local"]:
            path = server_socket or next((s for s in driver.SOCKETS if os.path.exists(s)), "")
    return {**told, "result": _log_in(account, path, timeout_s)}


def _listens(addresses: list[str], port: int, timeout_s: float) -> Optional[str]:
    """What is wrong with addresses; ``None`` when somebody listens at one."""
    wrong = "unknown_host"
    for address in addresses[:2]:
        try:
            socket.create_connection((address, port), timeout=timeout_s).close()
        except ConnectionRefusedError:
            wrong = "refused"
        except (TimeoutError, driver.SocketTimeout):
            wrong = "timeout"
        except OSError:
            wrong = "unreachable"
        else:
            return None
    return wrong


def _log_in(account: Account, path: str, timeout_s: float) -> str:
    try:
        options = {"host": account.host, "port": account.port, "user": account.user, "password": account.password}
        defaults = driver.Defaults("", path or None, account.host)
        connection = driver.connect(defaults, account.name or None, timeout_s, **options)
    except Exception as error:  # noqa: BLE001 - a server that answers garbage makes PyMySQL raise anything
        reason = driver.reason_of(error)
        return "unknown" if reason in ("no_pymysql", "no_cryptography", "unknown_plugin", "denied_socket") else reason
    with contextlib.suppress(Exception):
        connection.close()
    return "ok"
