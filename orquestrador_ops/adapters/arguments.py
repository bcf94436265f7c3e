"""Arguments of the emergency action plugins, and the variables that they read by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from orquestrador.core.messages import msg

from ..core.i18n import epoch
from ..incidents import matrix
from ..incidents.breaker import Limits
from ..incidents.settlement import Case
from . import results

ARGUMENTS: dict[str, dict[str, Any]] = {
    "procedure": {"type": "str", "required": True},
    "automatic": {"type": "bool", "default": False},
    "max_recoveries": {"type": "int", "default": 3},
    "window_s": {"type": "float", "default": 3600},
    "cooldown_s": {"type": "float", "default": 3600},
}
PLAN_ARGUMENTS: dict[str, dict[str, Any]] = {
    "matrix": {"type": "list", "elements": "dict", "required": True},
    "rules": {"type": "dict", "required": True},
    "limit_s": {"type": "float", "default": 10},
}
CHANNELS = "escalation_channels"


def recovery_of(variables: Mapping[str, Any], arguments: Mapping[str, Any], *, now: float, check_mode: bool) -> Case:
    """Return the recovery run of a host. Raises ``ValueError``, one line: argument out of range, run not opened."""
    run = results.registered(variables, "run").get("run")
    if not isinstance(run, Mapping):
        raise ValueError("the run was not opened: import the entry point open of role report before")  # noqa: TRY004 - of the playbook
    for name, low in (("max_recoveries", 1), ("window_s", 1), ("cooldown_s", 0)):
        if not low <= arguments[name] < 10**8:
            raise ValueError(f"breaker_{name} is {arguments[name]}: give a number from {low}")
    host = str(variables.get("inventory_hostname", ""))
    return Case(
        host=host,
        procedure=str(arguments["procedure"]),
        run_id=str(run["run_id"]),
        operator=str(run.get("operator") or ""),
        automatic=bool(arguments["automatic"]),
        limits=Limits(arguments["max_recoveries"], arguments["window_s"], arguments["cooldown_s"]),
        now=now,
        check_mode=check_mode,
        started_at=epoch(run.get("started_at")),
        waits=bool(arguments["automatic"] and results.decision_for(variables, host).get("waits")),
    )


def escalation_plan(
    variables: Mapping[str, Any], arguments: Mapping[str, Any], template: Callable[[Any], Any]
) -> matrix.Plan:
    """Return a play's escalation plan. Raises ``ValueError``, one line, for an invalid one."""
    return matrix.plan_of(arguments["matrix"], arguments["rules"], channels(variables, template))


def channels(variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Callable[[], Mapping[str, Sequence[str]]]:
    """Return a function that reads ``escalation_channels`` once, when first needed: they are in Vault."""

    @cache
    def ask() -> Mapping[str, Sequence[str]]:
        if CHANNELS not in variables:
            return {}
        try:
            value = template(variables[CHANNELS])
        except Exception as error:  # noqa: BLE001 - of any kind; its text may hold the value
            text = msg(
                "escalation_channels can't be read ({error}): give ansible-playbook the Vault password",
                error=type(error).__name__,
            )
            raise matrix.ChannelsError(text) from None
        return matrix.addresses_of(value)

    return ask
