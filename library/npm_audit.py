#!/usr/bin/python
"""Tell the known vulnerabilities of a project's packages, and repair them: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: npm_audit
short_description: Report known vulnerabilities of npm packages and repair them when approved
description:
  - Runs C(npm audit) with a cache of its own. Where npm could not ask, be it for want of a network, of npm, of a lock
    file, or of a registry that audits, the result is C(unknown) and never clean.
  - With O(fix) it saves C(package.json) and the lock file in O(saved_dir), runs C(npm audit fix), never with force, and
    audits again. When that fails the two files and C(node_modules) are put back as they were; where that can't be done
    it is told, and nothing is installed to mend it.
  - Run it as the user who owns O(path).
options:
  fail_level:
    description: Severity from which a vulnerability fails the step; below it, C(high) and worse are a warning.
    type: str
    default: critical
    choices:
      - info
      - low
      - moderate
      - high
      - critical
      - none
  fix:
    description: Whether to repair what is found.
    type: bool
    default: false
  saved_dir:
    description: Directory of the copies of C(package.json) and the lock file, kept with their history.
    type: path
    required: true
  fix_timeout:
    description: Seconds that the repair may take.
    type: float
    default: 600
  timeout:
    description: Seconds that an audit may take.
attributes:
  check_mode:
    description: Can run in check mode; audits, and reports that it would repair.
  diff_mode:
    description: There is nothing to compare; packages that changed are in RV(evidence).
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.npm]
"""

EXAMPLES = r"""
- name: Tell the known vulnerabilities
  npm_audit:
    path: /home/flavio/webapp
    saved_dir: /home/flavio/webapp/backups/critical
  become: true
  become_user: flavio
"""

RETURN = r"""
status:
  description: >-
    C(ok), C(warn), or C(failed) by severity; C(unknown) when npm failed. It rates what remains afterwards.
  returned: unless a repair failed, or there is nothing to report
  type: str
  sample: ok
evidence:
  description: >-
    Vulnerabilities by severity C(before) and C(after) a repair, vulnerable C(packages), packages C(fixed), and where
    the files were C(saved).
  returned: always
  type: dict
  sample: {"before": {"info": 0, "low": 0, "moderate": 0, "high": 0, "critical": 0}, "after": null}
note:
  description: The result as an untranslated message of C(text) and C(args), or a list of them.
  returned: unless a repair failed
  type: raw
failures:
  description: Why the repair failed, and what is as it was, as untranslated messages.
  returned: when the repair failed
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.app.npm import Npm, NpmError
from ansible.module_utils.orquestrador.app.npm_audit import NEVER, SEVERITIES, FixError, audit
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.lease.keeper import OPTION
from ansible.module_utils.orquestrador.lease.module import at_work

ARGUMENT_SPEC = {
    "path": {"type": "path", "required": True},
    "fail_level": {"type": "str", "default": "critical", "choices": [*SEVERITIES, NEVER]},
    "fix": {"type": "bool", "default": False},
    "saved_dir": {"type": "path", "required": True},
    "fix_timeout": {"type": "float", "default": 600},
    "command": {"type": "str", "default": "npm"},
    "registry": {"type": "str", "default": ""},
    "timeout": {"type": "float", "default": 120},
    "lease": OPTION,
}
RANGES = {"fix_timeout": (1, 7200), "timeout": (1, 3600)}


def main() -> None:
    """Audit the packages, repair approved ones and report."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with at_work(module, RANGES, umask=None):
        try:
            with Npm(
                params["path"], command=params["command"], registry=params["registry"], timeout_s=params["timeout"]
            ) as npm:
                result = audit(
                    npm,
                    fail_level=params["fail_level"],
                    fix=params["fix"],
                    check_mode=module.check_mode,
                    saved_dir=params["saved_dir"],
                    fix_timeout_s=params["fix_timeout"],
                )
        except NpmError as error:
            module.exit_json(changed=False, status="unknown", note=error.message, evidence={})
        except FixError as error:
            fail(module, *error.failures, changed=error.changed, evidence=error.evidence)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
