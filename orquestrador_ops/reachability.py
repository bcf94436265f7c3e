"""Why a host can't be reached, in an operator's words: what SSH says of it, told apart.

Nothing of the host is needed for this, and nothing hangs: SSH itself ends after ``timeout`` seconds (ansible.cfg).
"""

from __future__ import annotations

import re
from typing import Any

from module_utils.orquestrador.messages import msg
from module_utils.orquestrador.types import Message

NAME, HOST_KEY, REFUSED, TIMEOUT, NO_ROUTE, DENIED, BROKEN, OTHER = (
    "name", "host_key", "refused", "timeout", "no_route", "denied", "broken", "other",
)  # fmt: skip

# What OpenSSH prints, the first that fits: a changed key also ends in a refused authentication.
_WORDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (NAME, re.compile(r"Could not resolve hostname|Name or service not known|Temporary failure in name resolution")),
    (HOST_KEY, re.compile(r"HOST IDENTIFICATION HAS CHANGED|Host key verification failed|No .* host key is known")),
    (REFUSED, re.compile(r"Connection refused")),
    (TIMEOUT, re.compile(r"[Cc]onnection timed out|Operation timed out|[Tt]imed? ?out waiting|banner exchange.*timed out",
                         re.S)),
    (NO_ROUTE, re.compile(r"No route to host|Network is unreachable|Host is down")),
    (DENIED, re.compile(r"Permission denied|Too many authentication failures|no mutual signature")),
    (BROKEN, re.compile(r"Connection (?:closed|reset) by|kex_exchange_identification|Broken pipe|not responding")),
)  # fmt: skip


def code_of(said: str) -> str:
    """One of the codes above, from what SSH or Ansible said."""
    return next((code for code, words in _WORDS if words.search(said)), OTHER)


def explain(host: str, said: str, reason: str) -> Message:
    """The reason in words, with what to do next. ``reason`` is one line of what was said."""
    args: dict[str, Any] = {"host": host, "reason": reason}
    known = {
        NAME: msg("{host} cannot be reached over SSH: its name does not resolve: correct ansible_host, or look at the DNS ({reason})", **args),
        HOST_KEY: msg(
            "{host} cannot be reached over SSH: it shows another host key than the one on record: find out whether it was installed anew before"
            " accepting the new one ({reason})", **args
        ),
        REFUSED: msg(
            "{host} cannot be reached over SSH: it is up, but nobody listens there: start its sshd from the console, or correct ansible_port"
            " ({reason})", **args
        ),
        TIMEOUT: msg(
            "{host} cannot be reached over SSH: it does not answer in time: it is down, hangs, or a firewall is in between: look at its console"
            " ({reason})", **args
        ),
        NO_ROUTE: msg("{host} cannot be reached over SSH: there is no way to it in the network: look at the network and the VPN ({reason})", **args),
        DENIED: msg(
            "{host} cannot be reached over SSH: it does not let this account in: correct ansible_user, its key, or the host's authorized_keys"
            " ({reason})", **args
        ),
        BROKEN: msg(
            "{host} cannot be reached over SSH: it ends the connection before anybody is logged in: look at its sshd, its memory and its disk"
            " ({reason})", **args
        ),
    }  # fmt: skip
    return known.get(code_of(said), msg("{host} cannot be reached over SSH: {reason}", **args))


def line_of(said: str, limit: int = 200) -> str:
    """The line that says why, rather than the first: SSH draws a frame around its warnings."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for _, words in _WORDS:
        for line in lines:
            if words.search(line):
                return line.removeprefix("Failed to connect to the host via ssh: ")[:limit]
    return ""
