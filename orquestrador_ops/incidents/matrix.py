"""The escalation matrix of an inventory: levels, the conditions that call for them, and where addresses come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import msg
from orquestrador.core.types import Message

OTHERWISE = "otherwise"


Channels = Callable[[], Mapping[str, Sequence[str]]]


class ChannelsError(OperatorError, ValueError):
    """The addresses of the channels can't be had; why is said without them."""


@dataclass(frozen=True)
class Level:
    """A level of the matrix. ``respond_within_s``: until when it has to be acknowledged; 0 waits for nobody."""

    level: str
    name: str
    respond_within_s: float
    channels: tuple[str, ...]

    @property
    def title(self) -> Message:
        """Its name, in the operator's language where it is one of the playbook's."""
        return {"text": self.name, "args": {}}


# Extracted by gettext: the names of the playbook's own matrix.
_NAMES = (msg("Monitoring"), msg("Operator"), msg("Developer"), msg("Architect"))


@dataclass(frozen=True)
class Plan:
    """The matrix, the rules (condition → level) and where addresses come from."""

    levels: tuple[Level, ...]
    rules: Mapping[str, str]
    channels: Channels = dict

    def rank(self, level: str | None) -> int:
        """Its place in the matrix; -1 for none."""
        return next((place for place, one in enumerate(self.levels) if one.level == level), -1)

    def of(self, level: str | None) -> Level | None:
        """The level of this name."""
        return next((one for one in self.levels if one.level == level), None)

    def next(self, level: str | None) -> Level | None:
        """The level after it, if there is one."""
        place = self.rank(level) + 1
        return self.levels[place] if place < len(self.levels) else None

    def called_for(self, conditions: Iterable[str], *named: str | None) -> Level:
        """The highest level that the conditions, by the rules, or those who ``named`` one call for."""
        wanted = [self.rules[one] for one in conditions if one in self.rules] or [self.rules.get(OTHERWISE, "")]
        place = max(self.rank(one) for one in (*wanted, *named))
        return self.levels[max(place, 0)]


def plan_of(matrix: Any, rules: Any, channels: Channels = dict) -> Plan:
    """The plan of an inventory's variables. ``ValueError``, one line, for what is none."""
    if not isinstance(matrix, list) or not matrix:
        raise ValueError("escalation_matrix is no list of levels: give {level, name, respond_within_s, channels} each")
    levels = tuple(_level(one) for one in matrix)
    names = [level.level for level in levels]
    if len(set(names)) < len(names):
        raise ValueError(f"escalation_matrix names a level twice: {', '.join(names)}")
    if not isinstance(rules, Mapping):
        raise ValueError("escalation_rules maps a condition to a level: give a mapping")  # noqa: TRY004 - of the inventory
    unknown = sorted(f"{one}: {level}" for one, level in rules.items() if level not in names)
    if unknown:
        raise ValueError(f"escalation_rules has {unknown[0]}: use one of {', '.join(names)}")
    return Plan(levels, {str(one): str(level) for one, level in rules.items()}, channels)


def _level(one: Any) -> Level:
    if not isinstance(one, Mapping) or not one.get("level"):
        raise ValueError(f"escalation_matrix has {one!r}: give level, name, respond_within_s and channels")
    try:
        seconds = float(one.get("respond_within_s", 0))
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < 10**8:
        raise ValueError(f"escalation_matrix, {one['level']}: respond_within_s is no number of seconds from 0")
    channels = one.get("channels") or []
    if isinstance(channels, str) or not all(isinstance(name, str) for name in channels):
        raise ValueError(f"escalation_matrix, {one['level']}: channels is a list of names, not of addresses")
    return Level(str(one["level"]), str(one.get("name") or one["level"]), seconds, tuple(channels))


def addresses_of(value: Any) -> dict[str, list[str]]:
    """``escalation_channels`` as name → addresses. Raises :class:`ChannelsError`, which repeats no value."""
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise ChannelsError(msg("escalation_channels maps a name to an address: correct it in Vault"))
    found = {}
    for name, given in value.items():
        several = [given] if isinstance(given, str) else given
        if not isinstance(several, list | tuple) or not all(isinstance(one, str) for one in several):
            text = msg("escalation_channels, {name}: give an address of Apprise, or a list of them", name=str(name))
            raise ChannelsError(text)
        found[str(name)] = [one for one in several if one.strip()]
    return found
