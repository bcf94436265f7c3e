"""Log in to the database with the application's own credentials, as the application would.

A login of the operations account proves nothing about the application's: password, host and rights differ. The log
has the error of the application's last attempt; a login now decides whether starting it again can help.
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
# Environment variables of the connection, in order of preference.
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
    """Host, account and schema with which the application connects."""

    host: str
    port: int
    user: str
    password: str
    name: str
    socket: str


def account_from(settings: Mapping[str, str]) -> Optional[Account]:
    """Return the account in the application's settings; ``None`` when there is none."""
    for url in _URLS:
        if settings.get(url):
            with contextlib.suppress(ValueError):
                parts = urlsplit(settings[url])
                if parts.scheme.startswith(("mysql", "mariadb")) and parts.username:
                    user, password = unquote(parts.username), unquote(parts.password or "")
                    host, port = parts.hostname or "127.0.0.1", parts.port or 3306
                    return Account(host, port, user, password, parts.path.lstrip("/"), "")
    values = {kind: next((settings[n] for n in names if settings.get(n)), "") for kind, names in _NAMES.items()}
    if not values["user"]:
        return None
    port = int(values["port"]) if values["port"].isdigit() else 3306
    return Account(values["host"] or "127.0.0.1", port, *(values[kind] for kind in Account._fields[2:]))


def read_settings(env_file: str, pids: list[int], proc: str = "/proc") -> dict[str, str]:
    """Return the application's settings: its ``.env``, overridden by the environment of its process."""
    settings: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        fd = os.open(env_file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                settings.update(redact.parse_env(file.read(MAX_ENV_BYTES).decode("utf-8", "replace")))
    names = {name for names in _NAMES.values() for name in names} | set(_URLS)
    for pid in pids[:1]:
        with contextlib.suppress(OSError), open(f"{proc}/{pid}/environ", "rb") as file:
            pairs = (item.partition("=") for item in file.read(MAX_ENV_BYTES).decode("utf-8", "replace").split("\0"))
            settings.update({name: value for name, _, value in pairs if name in names})
    return settings


def resolve(host: str, timeout_s: float) -> list[str]:
    """Return the addresses of a name, in a thread that is abandoned after ``timeout_s``: the resolver has no limit."""
    addresses: list[str] = []
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]

    def ask() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            addresses.extend(str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return list(dict.fromkeys(addresses))


def _is_local(address: str) -> bool:
    try:
        if ipaddress.ip_address(address).is_loopback:
            return True
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except (OSError, ValueError):
        return False
    return True


def try_login(account: Account, server_socket: Optional[str], timeout_s: float) -> dict[str, Any]:
    """Try to log in: ``{host, port, user, database, local, result}``, without the password.

    ``result`` is ``ok``, ``unknown_host``, ``refused`` or ``timeout`` of the address, a reason of
    :func:`.driver.reason_of`, or ``unknown`` when this Python lacks the account's authentication method. A local
    server whose port is open is reached over its socket, where passwords need no TLS.
    """
    address = {"host": account.host, "port": account.port}
    report: dict[str, Any] = {**address, "user": account.user, "database": account.name}
    path = account.socket
    if path:
        report["local"] = True
    else:
        addresses = resolve(account.host, timeout_s)
        report["local"] = any(_is_local(address) for address in addresses) if addresses else None
        problem = _check_listener(addresses, account.port, timeout_s)
        if problem is not None:
            return {**report, "result": problem}
        if report["local"]:
            path = server_socket or next((s for s in driver.SOCKETS if os.path.exists(s)), "")
    return {**report, "result": _log_in(account, path, timeout_s)}


def _check_listener(addresses: list[str], port: int, timeout_s: float) -> Optional[str]:
    """Return the problem of connecting to the addresses; ``None`` when a server listens at one."""
    problem = "unknown_host"
    for address in addresses[:2]:
        try:
            socket.create_connection((address, port), timeout=timeout_s).close()
        except ConnectionRefusedError:
            problem = "refused"
        except (TimeoutError, driver.SocketTimeout):
            problem = "timeout"
        except OSError:
            problem = "unreachable"
        else:
            return None
    return problem


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
