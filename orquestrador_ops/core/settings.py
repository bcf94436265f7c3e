"""Where the controller keeps things and how it speaks: the ``ops_*`` variables of an inventory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .places import default_state_dir

if TYPE_CHECKING:
    from .i18n import Translator


@dataclass(frozen=True)
class Settings:
    """State directory, history (``None``: SQLite in the state directory), language and time zone."""

    state_dir: Path
    history_url: str | None
    locale: str
    timezone: str

    def translator(self) -> Translator:
        """The operator's language. ``ValueError``, one line, for one that there is not."""
        from .i18n import translator

        return translator(self.locale, self.timezone, self.state_dir)


def of(variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Settings:
    """Read ``ops_state_dir``, ``ops_history_url``, ``ops_locale`` and ``ops_timezone``.

    ``template`` resolves values that are templates. An empty ``ops_state_dir`` is
    :func:`default_state_dir`.
    """

    def text(name: str, default: str = "") -> str:
        value = template(variables[name]) if name in variables else None
        return str(value) if value else default

    state = text("ops_state_dir")
    return Settings(
        Path(state).expanduser().resolve() if state else default_state_dir(),
        text("ops_history_url") or None,
        text("ops_locale", "pt_BR"),
        text("ops_timezone", "America/Sao_Paulo"),
    )
