"""What was promised: the playbook's five service levels, and how strictly their arithmetic is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from orquestrador.core.messages import msg

from ...core.errors import SlaError
from ...core.text import excerpt

# Source of the objectives: the operational playbook, service levels; of the gap: the look-back of Prometheus.


@dataclass(frozen=True)
class Objectives:
    """Ratios from 0 to 1, times as the names say. ``error_rate`` is the largest share of errors that is allowed."""

    uptime: float = 0.999
    availability: float = 0.999
    response: float = 0.95
    response_ms: float = 200.0
    error_rate: float = 0.001
    recovery_s: float = 300.0
    gap_s: float = 300.0
    restart_allowance_s: float = 60.0
    burn_min_bad: int = 3


_RATIOS = ("uptime", "availability", "response", "error_rate")
_TIMES = {"recovery_s": (1, 30 * 86400), "gap_s": (1, 86400), "restart_allowance_s": (0, 3600)}


def of(variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Objectives:
    """Read ``sla_uptime``, ``sla_availability``, ``sla_response``, ``sla_response_ms``, ``sla_error_rate``,
    ``sla_recovery_s``, ``sla_gap_s``, ``sla_restart_allowance_s`` and ``sla_burn_min_bad``.

    ``template`` resolves values that are templates; what is not set has its default. Raises ``ValueError``, one line
    that names the variable.
    """
    given = {}
    for field in fields(Objectives):
        name = f"sla_{field.name}"
        value = template(variables[name]) if name in variables else None
        if value is not None and value != "":
            given[field.name] = _read(field.name, name, value)
    return Objectives(**given)  # type: ignore[arg-type]


def _read(field: str, name: str, value: object) -> float:
    number, given = _number(value), {"name": name, "value": excerpt(value, 60)}
    if field in _RATIOS:
        if number is None or not 0 < number < 1:
            raise SlaError(msg("{name} is {value}: give a ratio between 0 and 1, such as 0.999 for 99.9 %", **given))
        return number
    if field == "burn_min_bad":
        if number is None or number != int(number) or not 1 <= number <= 10**6:
            raise SlaError(msg("{name} is {value}: give a whole number from 1", **given))
        return int(number)
    if field == "response_ms":
        return _threshold(number, given)
    low, high = _TIMES[field]
    if number is None or not low <= number <= high:
        text = msg("{name} is {value}: give a number of seconds from {low} to {high}", **given, low=low, high=high)
        raise SlaError(text)
    return number


def _threshold(number: float | None, given: Mapping[str, str]) -> float:
    """A latency that histograms can tell: they know what lies below their edges, and nothing between two of them."""
    from ..data import histogram

    if number is not None and histogram.is_edge(number):
        return number
    if number is None or not 1 <= number <= histogram.EDGES[-1]:
        raise SlaError(msg("{name} is {value}: give milliseconds from 1 to 100000, such as 200", **given))
    below, above = (f"{histogram.EDGES[histogram.EDGES.searchsorted(number) + step]:g}" for step in (-1, 0))
    edges = {**given, "below": below, "above": above}
    text = msg("{name} is {value}, which the histogram of latencies cannot tell: give {below} or {above}", **edges)
    raise SlaError(text)


def _number(value: object) -> float | None:
    """A finite number, also as text; no boolean."""
    if isinstance(value, bool):
        return None
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None
