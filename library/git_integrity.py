#!/usr/bin/python
"""Compare a directory with its git repository: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: git_integrity
short_description: Report uncommitted, untracked and unpushed changes of a git work tree
description:
  - Tells uncommitted and untracked files, commits that were not pushed, the branch and its upstream, and the last five
    commits. A directory without a repository, a branch without an upstream and a detached HEAD are findings.
  - Fetches nothing. Unpushed commits are counted against the clone's last fetch; RV(evidence) has the age
    of that. Looking changes nothing, runs no hook and takes no lock.
  - Without git, or for a repository of another owner, the status is C(unknown) and the task does not fail.
  - Run it as the user who owns O(path).
options:
  path:
    description: Directory to compare.
    type: path
    required: true
  command:
    description: The git command.
    type: str
    default: git
  timeout:
    description: Seconds that looking may take.
    type: float
    default: 60
attributes:
  check_mode:
    description: Can run in check mode; it only ever looks.
extends_documentation_fragment: [orquestrador, orquestrador.lease]
"""

EXAMPLES = r"""
- name: Compare the application with its repository
  git_integrity:
    path: /home/flavio/webapp
  become: true
  become_user: flavio
"""

RETURN = r"""
status:
  description: C(ok), C(warn) with findings, C(unknown) when git could not be read.
  returned: always
  type: str
  sample: ok
evidence:
  description: Branch, upstream, numbers and bounded lists of files, commits, stashes, and the last five commits.
  returned: always
  type: dict
  sample: {"branch": "main", "uncommitted": 0, "untracked": 0, "unpushed": 0}
note:
  description: The findings as untranslated messages of C(text) and C(args), one or a list of them.
  returned: always
  type: raw
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.app.git import inspect
from ansible.module_utils.orquestrador.lease.keeper import OPTION
from ansible.module_utils.orquestrador.lease.module import at_work

ARGUMENT_SPEC = {
    "path": {"type": "path", "required": True},
    "command": {"type": "str", "default": "git"},
    "timeout": {"type": "float", "default": 60},
    "lease": OPTION,
}
RANGES = {"timeout": (0.5, 3600)}


def main() -> None:
    """Read the repository's state and report it."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with at_work(module, RANGES, umask=None):
        result = inspect(params["path"], command=params["command"], timeout_s=params["timeout"])
        module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
