"""How many errors the logs hold, and whether they could be read."""

from __future__ import annotations

from typing import Any

from ...core.messages import msg
from ...core.types import CRITICAL, OK, WARN
from ..expectations import number
from .registry import Result, check, unseen
from .view import View, as_dict, as_list


@check(
    "logs.errors",
    msg("Errors in the logs"),
    "metricas-de-sucesso",
    lambda limits: msg(
        "at most {recent} since the last run, fewer than {day} in 24 h",
        recent=limits["log_errors_recent"],
        day=limits["log_errors_day"],
    ),
)
def errors(view: View) -> Result:
    logs, most = as_dict(view.logs), view.limits["log_errors_recent"]
    recent, day = number(logs.get("errors")), number(logs.get("errors_day"))
    if recent is None or day is None:
        return unseen(view, "logs")
    complete = as_dict(logs.get("window")).get("complete") is not False
    present = [f for f in _dicts(logs.get("files")) if not f.get("missing")]
    readable = [f for f in present if f.get("readable") is not False]
    if day >= view.limits["log_errors_day"]:
        status = CRITICAL
    elif recent > most:
        status = WARN
    elif not readable or len(readable) < len(present):
        return unseen(view, "logs")
    else:
        status = OK if complete else WARN
    prints = _dicts(logs.get("fingerprints"))
    new = [p for p in prints if p.get("new") is True]
    counts = {"recent": int(recent), "day": int(day), "new": len(new)}
    hint = msg("Read the samples of the new errors first; hand what is code to the developers")
    if status == WARN and recent <= most:
        hint = msg("Run the routine again: it goes on reading where it stopped")
    return Result(
        status,
        msg("{recent} since the last run, {day} in 24 h, {new} new", **counts)
        if complete
        else msg("{recent} since the last run, {day} in 24 h, {new} new; the window was not read completely", **counts),
        view.hint("logs", hint),
        {
            "window": as_dict(logs.get("window")),
            "new": [{name: p.get(name) for name in ("fingerprint", "sample", "count")} for p in new[:10]],
            "fingerprints": len(prints),
            "files": _dicts(logs.get("files"))[:20],
        },
    )


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in as_list(value) if isinstance(one, dict)]
