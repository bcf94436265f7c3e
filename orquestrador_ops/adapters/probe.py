"""Controller side of the health probe: build arguments, normalize results and failures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from orquestrador.core.messages import msg, plain
from orquestrador.core.types import Message
from orquestrador.health import arguments as probe_arguments
from orquestrador.health.expectations import DEFAULTS

from ..core.outcomes import ERROR, UNREACHABLE

# Ansible's messages about invalid arguments: mistakes of the inventory, not of the host.
_ARGUMENT_FAULT = re.compile(r"argument|required|Unsupported parameters|value of .* must be|missing parameter", re.I)


# Inventory variables of the probe's arguments; expectations are ``health_<expectation>``.
VARIABLES = {
    "app_name": "app_name",
    "app_user": "app_user",
    "app_dir": "app_dir",
    "app_port": "app_port",
    "app_health_url": "app_health_url",
    "app_env_file": "app_env_file",
    "pm2_home": "pm2_home",
    "pm2_command": "pm2_command",
    "mysql_defaults_file": "mysql_defaults_file",
    "mysql_database": "mysql_database",
    "log_globs": "logs_error_globs",
    "log_max_bytes": "logs_max_bytes",
    "critical_files": "backup_critical_files",
    "critical_dest": "backup_critical_dir",
    "disk_paths": "health_disk_paths",
    "http_requests": "health_http_requests",
    "http_timeout": "health_http_timeout_s",
    "collector_timeout": "health_collector_timeout_s",
    "timeout": "health_timeout_s",
    "slow_query_s": "health_slow_query_s",
}
EXPECTATION_PREFIX = "health_"
# Exit status of a shell and of timeout(1) for a missing program.
NOT_FOUND = 127
_CLOSED = re.compile(r"Shared connection to \S+ closed")


def utc_now() -> str:
    """ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat()


def first_line(text: Any, limit: int = 300) -> str:
    """Return the first non-empty line, cut to ``limit`` characters."""
    for line in str(text or "").splitlines():
        if line.strip():
            return line.strip()[:limit]
    return ""


def with_plain_paths(specification: Mapping[str, Any]) -> dict[str, Any]:
    """Return a module's argument specification with its paths as plain text."""
    return {name: _with_plain_paths(option) for name, option in specification.items()}


def _with_plain_paths(option: dict[str, Any]) -> dict[str, Any]:
    """Return an option with its paths as plain text: the host expands ``~``, not the controller."""
    kinds: dict[str, Any] = {
        key: "str" if option[key] == "path" else option[key] for key in ("type", "elements") if key in option
    }
    nested = {name: _with_plain_paths(inner) for name, inner in option.get("options", {}).items()}
    return {**option, **kinds, **({"options": nested} if nested else {})}


_SPECIFICATION = with_plain_paths(probe_arguments.ARGUMENT_SPEC)
_VALIDATOR = ArgumentSpecValidator(_SPECIFICATION)


def parameters(arguments: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Validate a probe's arguments by the module's own specification; return ``(params, problem)``.

    ``problem`` is one line, ``None`` when the arguments can be used.
    """
    # Through JSON, so that a message names plain types rather than Ansible's own.
    validated = _VALIDATOR.validate(json.loads(json.dumps(arguments)))
    if validated.error_messages:
        return {}, as_inventory_names(_name_argument(arguments, first_line(validated.error_messages[0])))
    params: dict[str, Any] = validated.validated_parameters
    problem = probe_arguments.unusable(params)
    return params, problem and as_inventory_names(problem)


def _name_argument(arguments: dict[str, Any], problem: str) -> str:
    """Add the argument's name to a message without one, as the validator's about a list's elements."""
    if any(name in problem for name in _SPECIFICATION):
        return problem
    for name, value in arguments.items():
        option = {key: part for key, part in _SPECIFICATION[name].items() if key != "required"}
        if ArgumentSpecValidator({name: option}).validate(json.loads(json.dumps({name: value}))).error_messages:
            return f"argument '{name}' can't be used: {problem}"
    return problem


def as_inventory_names(text: str) -> str:
    """Replace argument names in a message by the names of inventory variables."""
    for argument, variable in VARIABLES.items():
        text = re.sub(rf"(?<![\w.]){argument}(?= is | must |'|$)", variable, text)
    return text.replace("expectations.", EXPECTATION_PREFIX).replace("argument '", "variable '")


def from_inventory(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a probe's arguments from the inventory, untemplated; undefined ones are left out."""
    return {
        **{argument: variables[name] for argument, name in VARIABLES.items() if name in variables},
        "expectations": {
            name: variables[EXPECTATION_PREFIX + name] for name in DEFAULTS if EXPECTATION_PREFIX + name in variables
        },
    }


cpu_percent = probe_arguments.cpu_percent


def add_verdict(params: dict[str, Any], observed: dict[str, Any]) -> dict[str, Any]:
    """Return a host's observation with verdict and baseline, as the module does; a failure stays as it is."""
    if not isinstance(observed.get("snapshot"), dict):
        return observed
    from orquestrador.health import evaluate as judge

    return {"changed": False, **judge.judge(params, observed)}


def copies_due(snapshot: Mapping[str, Any]) -> bool:
    """Return whether a critical file is missing or lacks a current copy."""
    files = snapshot.get("files") or {}
    return not files.get("current") or bool(files.get("missing"))


def normalize_result(result: dict[str, Any], *, host: str, started: str) -> dict[str, Any]:
    """Turn any result of the module into one that the conclusion can evaluate.

    Returns ``{changed, snapshot, verdict, memory, copies_due, started_at, ended_at}``; for a host that could not be
    observed ``snapshot`` and ``verdict`` are ``None``, ``outcome`` is ``unreachable`` or ``error`` and ``failure`` a
    message.
    Arguments that do not fit stay a failure of the task, in one line.
    """
    times = {"started_at": started, "ended_at": utc_now()}
    if isinstance(result.get("snapshot"), dict) and not result.get("failed"):
        return {**result, "copies_due": copies_due(result["snapshot"]), **times}
    reason = first_line(result.get("msg"))
    if result.get("unreachable"):
        from . import reachability

        output = str(result.get("msg") or "")
        failure = reachability.explain(host, output, reachability.relevant_line(output) or reason)
        failed_result = {**_empty_result(UNREACHABLE, failure), "unreachable_by": reachability.classify(output)}
        return {"changed": False, **failed_result, **times}
    refused = result.get("unusable") or ("module_stderr" not in result and _ARGUMENT_FAULT.search(reason))
    if result.get("failed") and refused:
        failed: dict[str, Any] = {"failed": True, "changed": False, "msg": reason}
        if "inventory" not in reason:
            failure = msg("{reason} - correct the variable in the inventory", reason=reason)
            failed.update(msg=plain(failure), failures=[failure])
        return failed
    return {"changed": False, **_empty_result(ERROR, explain_failure(result, host, reason)), **times}


def explain_failure(result: Mapping[str, Any], host: str, reason: str) -> Message:
    """Return why a probe could not run, with what to do about it where the cause is clear."""
    lines = [
        line.strip()
        for text in (result.get("module_stdout"), result.get("module_stderr"))
        for line in str(text or "").splitlines()
        if line.strip() and not _CLOSED.match(line)
    ]
    # sudo prints the cause first, a traceback in its last line.
    sudo = next((line for line in lines if line.startswith("sudo: ")), None)
    detail = first_line(sudo or (lines[-1] if lines else reason))
    if result.get("rc") == NOT_FOUND:
        return msg(
            "Python was not found on {host}: install python3 there, or correct ansible_python_interpreter ({reason})",
            host=host,
            reason=detail,
        )
    if sudo or "sudo password" in detail:
        return msg(
            "It was not possible to act as the application's user on {host}: correct app_user, sudo's rules there "
            "or the password for it ({reason})",
            host=host,
            reason=detail,
        )
    if "becoming an unprivileged user" in detail:
        return msg(
            "Ansible could not hand its files to the application's user on {host}: switch ansible_pipelining on, "
            "or install the package acl there",
            host=host,
        )
    return msg("The probe could not run on {host}: {reason}", host=host, reason=detail)


def _empty_result(outcome: str, failure: Any) -> dict[str, Any]:
    return {
        "snapshot": None,
        "verdict": None,
        "memory": None,
        "copies_due": False,
        "outcome": outcome,
        "failure": failure,
    }
