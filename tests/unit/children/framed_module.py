"""A module in the frame that those of the library have, without Ansible: what it prints last is its result."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import msg
from orquestrador.lease.module import at_work

path, user, kind, seconds, made = sys.argv[1:6]


class Module:
    check_mode = False
    params = {  # noqa: RUF012 - there is only one
        "timeout": float(seconds),
        "lease": {"path": path, "run_id": "mine", "ttl_s": 60.0, "user": user},
    }

    def fail_json(self, **told: Any) -> NoReturn:
        print(json.dumps(told))
        sys.exit(0)


with at_work(Module(), {"timeout": (0, 10)}):
    open(made, "w").close()
    if kind == "error":
        raise OperatorError(msg("{path} is full", path="/srv"))
print(json.dumps({"changed": True}))
