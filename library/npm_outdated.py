#!/usr/bin/python
"""Tell which packages of a project are behind: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: npm_outdated
short_description: Report outdated npm packages
description:
  - Runs C(npm outdated) with a cache of its own and keeps its list as C(<dest>/npm-outdated-YYYYMMDD.txt).
  - That packages are behind is a fact and no failure. Where npm could not ask, be it for want of a network, of npm or
    of the installed packages, or because the registry gives nothing about any of them, the result is C(unknown).
  - Run it as the user who owns O(path).
options:
  dest:
    description: Directory of the list.
    type: path
    required: true
attributes:
  check_mode:
    description: Can run in check mode; asks, and writes no list.
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.npm]
"""

EXAMPLES = r"""
- name: Tell which packages are behind
  npm_outdated:
    path: /home/flavio/webapp
    dest: /home/flavio/webapp/reports
  become: true
  become_user: flavio
"""

RETURN = r"""
status:
  description: >-
    C(unknown) when npm failed, C(warn) when the registry withholds some packages or the list could not be
    written.
  returned: when it is one of these
  type: str
  sample: unknown
path:
  description: The list; null when it could not be read or written.
  returned: always
  type: str
  sample: /home/flavio/webapp/reports/npm-outdated-20260102.txt
evidence:
  description: How many packages are behind, by how much, and which.
  returned: always
  type: dict
  sample: {"outdated": 2, "major": 2, "minor": 0, "patch": 0, "other": 0, "packages": [], "not_told": []}
note:
  description: The result as an untranslated message of C(text) and C(args), or a list of them.
  returned: always
  type: raw
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.app.npm import Npm, NpmError, outdated
from ansible.module_utils.orquestrador.lease.keeper import OPTION
from ansible.module_utils.orquestrador.lease.module import at_work

ARGUMENT_SPEC = {
    "path": {"type": "path", "required": True},
    "dest": {"type": "path", "required": True},
    "command": {"type": "str", "default": "npm"},
    "registry": {"type": "str", "default": ""},
    "timeout": {"type": "float", "default": 120},
    "lease": OPTION,
}
RANGES = {"timeout": (1, 3600)}


def main() -> None:
    """List the outdated packages, store the list and report."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with at_work(module, RANGES, umask=None):
        try:
            with Npm(
                params["path"], command=params["command"], registry=params["registry"], timeout_s=params["timeout"]
            ) as npm:
                result = outdated(npm, params["dest"], check_mode=module.check_mode)
        except NpmError as error:
            module.exit_json(changed=False, status="unknown", note=error.message, evidence={}, path=None)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
