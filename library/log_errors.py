#!/usr/bin/python
"""Count the error events of the last days: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: log_errors
short_description: Count the error events of the last days, archived logs included
description:
  - Counts events, not lines, as M(health_probe) does, in the logs that are there and in the archives of
    M(log_archive) that were written in the period. Error logs of archives are unpacked into a private temporary
    directory, which is removed.
  - Says so when not everything could be read; the count is then the least that it was.
options:
  globs:
    description: Error logs, as glob patterns.
    type: list
    elements: str
    required: true
  archive_dir:
    description: Directory of the archives.
    type: path
    required: true
  days:
    description: How many days back.
    type: float
    default: 7
  max_bytes:
    description: Bytes that are read at the most of the logs together, and of each archived log.
    type: int
    default: 268435456
  timeout:
    description: Seconds that it may take.
    type: float
    default: 120
attributes:
  check_mode:
    description: Can run in check mode; it changes nothing in either mode.
extends_documentation_fragment: [orquestrador, orquestrador.lease]
"""

EXAMPLES = r"""
- name: Count the errors of seven days
  log_errors:
    globs: [/home/flavio/webapp/logs/error*.log]
    archive_dir: /home/flavio/webapp/logs/archive
  become: true
  become_user: flavio
"""

RETURN = r"""
status:
  description: C(ok), or C(unknown) when not everything could be read.
  returned: success
  type: str
note:
  description: The count in words, as untranslated messages of C(text) and C(args).
  returned: success
  type: list
  elements: dict
evidence:
  description:
    - C(errors), C(since_at), C(until_at), how many C(archives) were read, and the most frequent C(events) as C(count),
      C(first_at), C(last_at) and C(sample).
  returned: success
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.core.messages import msg
from ansible.module_utils.orquestrador.lease.keeper import OPTION
from ansible.module_utils.orquestrador.lease.module import at_work
from ansible.module_utils.orquestrador.logs.period import Options, count

ARGUMENT_SPEC = {
    "globs": {"type": "list", "elements": "str", "required": True},
    "archive_dir": {"type": "path", "required": True},
    "days": {"type": "float", "default": 7},
    "max_bytes": {"type": "int", "default": 268435456},
    "timeout": {"type": "float", "default": 120},
    "lease": OPTION,
}
RANGES = {"days": (0.01, 366), "max_bytes": (1, 1 << 40), "timeout": (1, 86400)}


def main() -> None:
    """Count the error events and return the counts."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = {name: value for name, value in module.params.items() if name != "lease"}
    with at_work(module, RANGES, umask=None):
        evidence = count(Options(timeout_s=params.pop("timeout"), **params), time.time())
        complete, findings = evidence.pop("complete"), evidence.pop("findings")
        figures = {"count": evidence["errors"], "period_s": params["days"] * 86400}
        if complete:
            summary = msg("{count} error events in {period_s}", **figures)
        else:
            summary = msg("at least {count} error events in {period_s}", **figures)
        module.exit_json(
            changed=False,
            status="ok" if complete else "unknown",
            note=[summary, *(finding["message"] for finding in findings)],
            evidence=evidence,
        )


if __name__ == "__main__":
    main()
