"""Look at a host for the watch: from inside and from here, and again before anybody calls it a failure."""

from __future__ import annotations

import http.client  # noqa: F401 - asking for the public address needs it: forked workers inherit it
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ansible.plugins.loader import action_loader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.app import health_endpoint as http_health
from orquestrador_ops.watch import cycle as watch_cycle
from orquestrador_ops.watch import decisions as watch

# Names are resolved without a limit of their own: then the answer is not waited for any longer.
GRACE_S = 1.0

PROBE = action_loader.get("health_probe", class_only=True)


class ActionModule(PROBE):  # type: ignore[misc, valid-type]
    """One round trip for a host that is well, two for one that is not. Never fails for what it observed."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        template = self._templar.template
        url = str(template(variables.get("app_public_url")) or "")
        try:
            limit_s, confirm_s = (
                watch_cycle.number(name, template(variables[name]))
                for name in ("watch_public_timeout_s", "watch_confirm_after_s")
            )
        except ValueError as error:
            return {"failed": True, "changed": False, "msg": str(error), "trouble": watch.UNSEEN}
        first, public = self._look(tmp, task_vars, url, limit_s)
        found = watch.trouble(first, public)
        seen = {**watch.essence(first), "public": public}
        if found in (watch.FAILING, watch.OUTSIDE):
            time.sleep(confirm_s)
            second, public = self._look(tmp, task_vars, url, limit_s)
            now = watch.trouble(second, public)
            blip = [] if now is not None else watch.reasons({**seen, "trouble": found})
            seen = {**watch.essence(second), "public": public, "first_look": seen, "blip": blip}
            first, found = second, now
        kept = {name: first[name] for name in ("memory", "started_at", "ended_at", "run_id", "owner") if name in first}
        result = {"changed": False, **seen, **kept, "trouble": found}
        if first.get("failed"):
            result.update(failed=True, msg=first.get("msg"))
        return result

    def _look(
        self, tmp: Any, task_vars: dict[str, Any] | None, url: str, limit_s: float
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        answer: list[dict[str, Any]] = []
        asking = threading.Thread(target=lambda: answer.append(watch.asked(http_health, url, limit_s)), daemon=True)
        if url:
            asking.start()
        result: dict[str, Any] = super().run(tmp, task_vars)
        if not url:
            return result, None
        asking.join(limit_s + GRACE_S)
        return result, answer[0] if answer else watch.unanswered(url)
