#!/usr/bin/python
"""Keep copies of an application's critical files: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: critical_files
short_description: Keep verified, versioned copies of an application's critical files
description:
  - Copies each file to C(<dest>/<name>/<YYYYmmddTHHMMSSZ>-<first 12 digits of its SHA-256>), atomically and with mode
    0600 in directories of mode 0700, and reads the copy back to prove it.
  - A new copy is made only when the content differs from the newest copy, or when that one is damaged or has another
    mode. Older copies are kept.
  - Links are followed; their target's content is copied.
  - When a file can't be copied the others still are, and the module fails at the end naming each that was not.
  - Run it as the application's user, who owns the files and the copies.
options:
  files:
    description: The files to copy, at most 64 MiB each.
    required: true
  dest:
    description: Directory of the copies, created when missing.
    type: path
    required: true
  lease:
    description:
      - Take the lease of the host for the copying and give it back, so that no other procedure changes the host
        meanwhile. Without it the caller has to have the lease.
      - A lease that another run holds is a failure that names it, and nothing is copied.
      - In check mode no lease is taken; RV(note) names its holder.
    type: dict
    suboptions:
      path:
        description: The lease file on the host.
        type: path
        required: true
      run_id:
        description: The run that takes it.
        type: str
        required: true
      owner:
        description: Who started that run, and on which controller.
        type: str
        required: true
      procedure:
        description: The procedure that runs.
        type: str
        required: true
      ttl_s:
        description: Seconds after which it expires when it is not given back, from 1 to 86400.
        type: float
        required: true
      preempt:
        description: Whether an emergency takes it from a routine that holds it.
        type: bool
        default: false
attributes:
  diff_mode:
    description: Shows names and SHA-256 digests, never contents, because the files hold secrets.
    support: full
extends_documentation_fragment: [orquestrador, orquestrador.critical]
"""

EXAMPLES = r"""
- name: Keep copies of the critical files
  critical_files:
    dest: /home/flavio/webapp/backups/critical
    files:
      - name: ecosystem.config.cjs
        path: /home/flavio/webapp/ecosystem.config.cjs
      - name: .env
        path: /home/flavio/webapp/.env
      - name: dump.pm2
        path: /home/flavio/.pm2/dump.pm2
        required: false
  become: true
  become_user: flavio
"""

RETURN = r"""
files:
  description: One entry for each requested file, in that order.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    path:
      description: The file.
      type: str
      returned: always
    sha256:
      description: Digest of its content; null when it could not be read or does not exist.
      type: str
      returned: always
    copy:
      description: The newest copy, proven to be identical; null when there is none, as in check mode before the first.
      type: str
      returned: always
    changed:
      description: Whether a copy was made, or would be in check mode.
      type: bool
      returned: always
lease:
  description: The lease that the copying was done under; see M(host_lease).
  returned: when O(lease) was given and taken
  type: dict
note:
  description: What is to be known of the lease, as an untranslated message; null when nothing is.
  returned: when O(lease) was given
  type: dict
holder:
  description: Who holds the lease; see M(host_lease).
  returned: when another run holds it
  type: dict
failures:
  description: What went wrong as untranslated messages of C(text) and C(args); empty when nothing did.
  returned: always
  type: list
  elements: dict
  sample: [{"text": "{path} does not exist: restore it or correct its path", "args": {"path": "/home/flavio/.env"}}]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.app.critical_files import copy_all
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.lease import keeper, lease_file, model
from ansible.module_utils.orquestrador.system.dated_copies import OPTION

ARGUMENT_SPEC = {
    "files": {**OPTION, "required": True},
    "dest": {"type": "path", "required": True},
    "lease": {"type": "dict", "options": lease_file.OPTIONS},
}


def main() -> None:
    """Copy, report, and fail last."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    os.umask(0o077)
    params = module.params
    try:
        result = keeper.guarded(
            params["lease"],
            lambda: copy_all(params["files"], params["dest"], check_mode=module.check_mode),
            check_mode=module.check_mode,
        )
    except model.LeaseError as error:
        fail(module, error.message, changed=False, files=[], holder=error.holder)
    if result["failures"]:
        fail(module, *result.pop("failures"), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
