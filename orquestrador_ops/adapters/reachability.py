"""Explain why a host can't be reached, from SSH's error output.

Nothing of the host is needed for this, and nothing hangs: SSH itself ends after ``timeout`` seconds (ansible.cfg).
"""

from __future__ import annotations

import re

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

# OpenSSH's messages, the first match counts: a changed key also ends in a refused authentication.
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern))
    for code, pattern in (
        ("name", r"Could not resolve hostname|Name or service not known|Temporary failure in name resolution"),
        ("host_key", r"HOST IDENTIFICATION HAS CHANGED|Host key verification failed|No .* host key is known"),
        ("refused", r"Connection refused"),
        ("timeout", r"[Cc]onnection timed out|Operation timed out|[Tt]imed? ?out|banner exchange"),
        ("no_route", r"No route to host|Network is unreachable|Host is down"),
        ("denied", r"Permission denied|Too many authentication failures|no mutual signature"),
        ("broken", r"Connection (?:closed|reset) by|kex_exchange_identification|Broken pipe|not responding"),
    )
)
_EXPLANATIONS = {
    "name": msg("its name does not resolve: correct ansible_host, or look at the DNS"),
    "host_key": msg(
        "it shows another host key than the one on record: find out whether it was installed anew before you accept it"
    ),
    "refused": msg("it is up, but nobody listens there: start its sshd from the console, or correct ansible_port"),
    "timeout": msg("it does not answer in time: it is down, hangs, or a firewall is in between: look at its console"),
    "no_route": msg("there is no way to it in the network: look at the network and the VPN"),
    "denied": msg("it does not let this account in: correct ansible_user, its key, or the host's authorized_keys"),
    "broken": msg("it ends the connection before anybody is logged in: look at its sshd, its memory and its disk"),
}


def classify(output: str) -> str:
    """``name``, ``host_key``, ``refused``, ``timeout``, ``no_route``, ``denied``, ``broken``, or ``other``."""
    return next((code for code, pattern in _PATTERNS if pattern.search(output)), "other")


def relevant_line(output: str, limit: int = 200) -> str:
    """Return the line with the cause; empty for none. SSH frames its warnings, so it is not the first."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    match = next((line for _, pattern in _PATTERNS for line in lines if pattern.search(line)), "")
    return match.rpartition("over ssh: ")[2].removeprefix("Failed to connect to the host via ssh: ")[:limit]


def explain(host: str, output: str, reason: str) -> Message:
    """Return a message with the cause and what to do next. ``reason`` is one line of the output."""
    explanation = _EXPLANATIONS.get(classify(output))
    if explanation is None:
        return msg("{host} cannot be reached over SSH: {reason}", host=host, reason=reason)
    return msg("{host} cannot be reached over SSH: {why} ({reason})", host=host, why=explanation, reason=reason)
