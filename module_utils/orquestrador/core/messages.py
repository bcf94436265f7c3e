"""Messages that leave a managed host untranslated.

A host does not have the operator's language, so a message is an English message id with named arguments, which the
controller translates (``orquestrador_ops.core.i18n``). The id is also the English text.

The unit of an argument is the ending of its name: ``_bytes``, ``_ms``, ``_s``, ``_percent``, ``_at`` (ISO 8601 in
UTC), anything else is printed as it is. ``msg("{used_bytes} of {limit_bytes}", used_bytes=1, limit_bytes=2)``.
"""

from __future__ import annotations

from typing import Any, Optional, Union

from .types import Finding, Message

Scalar = Union[str, int, float, bool, None]


def msg(text: str, **args: Union[Scalar, Message]) -> Message:
    """Build a message; ``text`` must be a literal, because catalogs are extracted from the calls of this function.

    An argument may be a message itself, such as the title of a step.
    """
    return {"text": text, "args": dict(args)}


def plain(message: Any) -> str:
    """Return a message in English without a catalog, for exceptions and tests.

    Never raises: a missing argument stays visible as its placeholder.
    """
    if not isinstance(message, dict):
        return str(message)
    text = str(message.get("text", ""))
    for name, value in dict(message.get("args") or {}).items():
        text = text.replace("{" + str(name) + "}", plain(value))
    return text


def finding(collector: str, code: str, message: Message, hint: Optional[Message] = None) -> Finding:
    """Build a finding: what could not be observed and where, and what to do next."""
    return {"collector": collector, "code": code, "message": message, "hint": hint}
