"""What becomes of an observation: the verdict, and what to remember for the next run.

Pure, so it can be done wherever it is cheaper: on the host, where the module runs, or on the controller, which has the
verdict in memory already when it carries the collectors to the host itself.
"""

from __future__ import annotations

from typing import Any, cast

from ..core.jsonable import clean
from . import verdict


def judge(params: dict[str, Any], observed: dict[str, Any]) -> dict[str, Any]:
    """``{snapshot, verdict, memory}`` of what :func:`.observe.observe` returned."""
    snapshot, memory = observed["snapshot"], params["memory"] or None
    remembered = cast("dict[str, Any]", verdict.remember(snapshot, observed["log_memory"], memory))
    return {
        "snapshot": snapshot,
        "verdict": verdict.evaluate(snapshot, params["expectations"], memory),
        "memory": clean(remembered),
    }
