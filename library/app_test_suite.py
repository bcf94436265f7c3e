#!/usr/bin/python
"""Run the application's own test suite: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_test_suite
short_description: Run the application's test suite and evaluate its counts
description:
  - Runs the suite with a limit of time and in a process group of its own, which is killed whole at the limit.
  - What the suite counts as passed and failed is believed, whatever its colours, over the status that it ends with; a
    suite without counts is unknown, never good.
  - No shell reads the command. Run it as the application's user.
  - The result stands in RV(status); only a suite that can't be run at all fails the task.
options:
  app_dir:
    description: Directory of the application, in which the suite is run.
    type: path
    required: true
  command:
    description: The suite, as a list of arguments or as one line that is split as a shell would.
    type: raw
    required: true
  expected:
    description: Number of tests that have to pass.
    type: int
    required: true
  timeout:
    description: Seconds that the suite may take.
    type: float
    default: 300
  report_dir:
    description: Directory for the output, kept as C(tests-YYYYMMDD.txt) with mode 0640; empty keeps none.
    type: path
  env_file:
    description: Environment file whose secrets are masked in the stored output.
    type: path
attributes:
  check_mode:
    description: Can run in check mode; looks whether the suite could run, and runs nothing.
extends_documentation_fragment: [orquestrador, orquestrador.lease]
"""

EXAMPLES = r"""
- name: Run the test suite
  app_test_suite:
    app_dir: /home/flavio/webapp
    command: ./teste-100pct-otimizado.sh
    expected: 28
    report_dir: /home/flavio/webapp/reports
  become: true
  become_user: flavio
"""

RETURN = r"""
status:
  description: Status of the counts, C(ok), C(failed) or C(unknown).
  returned: success
  type: str
  sample: ok
evidence:
  description: The counts, exit status, duration, the last lines of the output and where all of it is kept.
  returned: success
  type: dict
note:
  description: The result in an untranslated message of C(text) and C(args).
  returned: success
  type: dict
failures:
  description: What went wrong, as untranslated messages.
  returned: failure
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.app.suite import Suite, run_suite
from ansible.module_utils.orquestrador.lease.keeper import OPTION
from ansible.module_utils.orquestrador.lease.module import at_work

ARGUMENT_SPEC = {
    "app_dir": {"type": "path", "required": True},
    "command": {"type": "raw", "required": True},
    "expected": {"type": "int", "required": True},
    "timeout": {"type": "float", "default": 300},
    "report_dir": {"type": "path"},
    "env_file": {"type": "path"},
    "lease": OPTION,
}
RANGES = {"expected": (0, 10**7), "timeout": (1, 86400)}


def main() -> None:
    """Run the test suite and return its counts."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with at_work(module, RANGES, umask=None):
        suite = Suite(
            params["app_dir"],
            params["command"],
            params["expected"],
            params["timeout"],
            params["report_dir"] or "",
            params["env_file"] or "",
        )
        module.exit_json(**run_suite(suite, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
