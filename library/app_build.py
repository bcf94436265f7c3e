#!/usr/bin/python
"""Build the application with a way back: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_build
short_description: Build the application and keep the previous build when it fails
description:
  - Copies what the application runs from aside and runs the build in place, with a limit of time and in a process group
    of its own. A build that fails, hangs or is killed leaves the directory as it was, to the byte and the mode; the
    next run finishes the repair where this one was killed itself.
  - A build that succeeds leaves the copy as the way back for M(pm2_reload), until a reload has proven what was built.
  - No shell reads the command. Run it as the application's user, under the lease of the host.
options:
  app_dir:
    description: Directory of the application, in which the command is run.
    type: path
    required: true
  command:
    description: The build, as a list of arguments or as one line that is split as a shell would.
    type: raw
    default: npm run build
  dist:
    description: Directory that the build writes, and that the application runs from.
    type: path
    required: true
  state_dir:
    description: Directory for the copy, outside O(app_dir); created when missing.
    type: path
    required: true
  timeout:
    description: Seconds that the build may take.
    type: float
    default: 600
  env_file:
    description: Environment file whose secrets are masked in the report.
    type: path
attributes:
  check_mode:
    description: Can run in check mode; looks whether the build could run, and runs nothing.
  diff_mode:
    description: There is nothing to compare but digests, which are returned.
extends_documentation_fragment: [orquestrador, orquestrador.lease]
"""

EXAMPLES = r"""
- name: Build the application
  app_build:
    app_dir: /home/flavio/webapp
    dist: /home/flavio/webapp/dist
    state_dir: /home/flavio/.local/state/orquestrador-ops/build
  become: true
  become_user: flavio
"""

RETURN = r"""
evidence:
  description: Command, exit status, duration, last lines of the output, digests of O(dist) before and after.
  returned: always
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
from ansible.module_utils.orquestrador.app.build import Build, build
from ansible.module_utils.orquestrador.app.dist import DeployError
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.lease.keeper import OPTION
from ansible.module_utils.orquestrador.lease.module import at_work

ARGUMENT_SPEC = {
    "app_dir": {"type": "path", "required": True},
    "command": {"type": "raw", "default": "npm run build"},
    "dist": {"type": "path", "required": True},
    "state_dir": {"type": "path", "required": True},
    "timeout": {"type": "float", "default": 600},
    "env_file": {"type": "path"},
    "lease": OPTION,
}
RANGES = {"timeout": (1, 86400)}


def main() -> None:
    """Build, and fail in one line."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with at_work(module, RANGES, umask=None):
        build_options = Build(
            params["app_dir"],
            params["command"],
            params["dist"],
            params["state_dir"],
            params["timeout"],
            params["env_file"] or "",
        )
        try:
            result = build(build_options, check_mode=module.check_mode)
        except DeployError as error:
            fail(module, *error.failures, evidence=error.evidence)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
