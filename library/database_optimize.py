#!/usr/bin/python
"""Rebuild the tables of a database where it pays: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_optimize
short_description: Rebuild MySQL or MariaDB tables where it frees space
description:
  - Looks at size and free space of each listed table and runs C(OPTIMIZE TABLE) on those with at least
    O(min_free_bytes) and O(min_free_ratio) of their file free, or on all of them with O(everything).
  - Needs 1.2 times a table's size free where the database keeps its files, and refuses without it.
  - Gives up on a table that a transaction holds for longer than O(lock_wait), because everything else queues behind
    one who waits, and ends its own statement after O(timeout).
  - A missing table or a view in the list is reported; a table that could not be done does not stop the others.
  - Replicas repeat the rebuild, as they do when an operator types the statement.
  - Run it as a user who may log in over the socket with the right to rebuild, C(root) by default.
options:
  name:
    description: Schema of the tables.
    type: str
    required: true
  tables:
    description: Tables to look at.
    type: list
    elements: str
    required: true
  defaults_file:
    description: Option file with the credential of an account that may rebuild; empty logs in as the user that runs it.
    type: str
    default: ''
  socket:
    description: Unix socket of the server, for an empty O(defaults_file).
    type: path
    default: /run/mysqld/mysqld.sock
  min_free_bytes:
    description: Free space within a table from which a rebuild pays, in bytes.
    type: int
    default: 67108864
  min_free_ratio:
    description: Share of a table's file that must be free for a rebuild to pay.
    type: float
    default: 0.2
  everything:
    description: Whether to rebuild all the tables, whatever they would gain.
    type: bool
    default: false
  lock_wait:
    description: Seconds to wait for a table that a transaction holds.
    type: int
    default: 5
  timeout:
    description: Seconds that all of it may take.
    type: float
    default: 900
attributes:
  check_mode:
    description: Can run in check mode; reads the tables and returns which would be rebuilt.
  diff_mode:
    description: There is nothing to compare; sizes before and after are in RV(evidence).
extends_documentation_fragment: [orquestrador, orquestrador.lease]
"""

EXAMPLES = r"""
- name: Rebuild the tables where it pays
  database_optimize:
    name: orquestrador_ia
    tables:
      - conversation
      - message
  become: true
"""

RETURN = r"""
status:
  description: C(failed) when a table could not be done, C(warn) when the list names a missing table or a view.
  returned: when it is one of these
  type: str
  sample: warn
evidence:
  description: >-
    C(tables), each with its C(state), sizes before and after and C(duration_s); C(reclaimed_bytes); C(optimized),
    how many were rebuilt.
  returned: always
  type: dict
note:
  description: The result, and what is to be done, as an untranslated message or a list of them.
  returned: always
  type: raw
failures:
  description: What could not be done, as untranslated messages of C(text) and C(args); empty when nothing.
  returned: always
  type: list
  elements: dict
"""

import os
import pwd

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.lease.keeper import OPTION
from ansible.module_utils.orquestrador.lease.module import at_work
from ansible.module_utils.orquestrador.mysql.optimize import Limits, optimize

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "tables": {"type": "list", "elements": "str", "required": True},
    "defaults_file": {"type": "str", "default": ""},
    "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
    "min_free_bytes": {"type": "int", "default": 67108864},
    "min_free_ratio": {"type": "float", "default": 0.2},
    "everything": {"type": "bool", "default": False},
    "lock_wait": {"type": "int", "default": 5},
    "timeout": {"type": "float", "default": 900},
    "lease": OPTION,
}
RANGES = {"min_free_bytes": (0, 2**60), "min_free_ratio": (0, 1), "lock_wait": (1, 3600), "timeout": (1, 86400)}


def main() -> None:
    """Rebuild the tables; report all failures at the end."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    # PyMySQL logs in by this name; after a change of user the environment may still have the one before.
    os.environ["LOGNAME"] = pwd.getpwuid(os.geteuid()).pw_name
    with at_work(module, RANGES):
        bounds = ("min_free_bytes", "min_free_ratio", "everything", "lock_wait", "timeout")
        result = optimize(
            params["tables"],
            schema=params["name"],
            defaults_file=params["defaults_file"],
            socket=params["socket"],
            limits=Limits(*(params[name] for name in bounds)),
            check_mode=module.check_mode,
        )
        if result["failures"]:
            fail(module, *result.pop("failures"), **result)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
