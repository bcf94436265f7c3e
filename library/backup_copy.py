#!/usr/bin/python
"""Copy backups elsewhere and prove the copies: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_copy
short_description: Copy backups elsewhere and prove the copies by reading them back
description:
  - Copies every whole backup that the destination does not have, with its manifest, to C(<to>/<host>/<kind>/). Each
    copy is read back, its SHA-256 compared with the manifest, and recorded there as C(copies).
  - A backup that was copied before is looked at by its size, the newest of each kind is read back every time; what is
    missing or differs is copied again. Nothing is ever deleted at the destination.
  - The copies are as encrypted as the backups; the manifests beside them are readable.
  - A destination that fails or does not answer is a failure within O(timeout).
  - C(controller) is done by the action plugin of the same name, which fetches the files over the connection that
    Ansible has, as streams (with C(become), in pieces of a few megabytes).
options:
  to:
    description:
      - Empty for no copy, C(controller), C(rclone:<remote>:<path>), C(rsync:<destination>), or the absolute path of a
        directory of another file system. Credentials are in the configuration of rclone or SSH of the user who runs
        this.
    type: str
    default: ''
  host:
    description: Name of this host in the destination, a plain name.
    type: str
    required: true
  recorded:
    description: Ids with C(kind) and C(sha256) that the controller has fetched and proven; used by the action plugin.
    type: list
    elements: dict
    default: []
    suboptions:
      directory:
        description: Directory of the backup.
        type: path
        required: true
      kind:
        description: Its kind.
        type: str
        required: true
      id:
        description: Its id.
        type: str
        required: true
      sha256:
        description: Of what was fetched.
        type: str
        required: true
  timeout:
    description: Seconds that it may take.
    type: float
    default: 3600
attributes:
  check_mode:
    description: Can run in check mode; asks the destination what it has and copies nothing.
  diff_mode:
    description: RV(copied) says what is copied.
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.places]
"""

EXAMPLES = r"""
- name: Copy the backups to a mounted disk
  backup_copy:
    places:
      - kind: database
        path: /home/flavio/webapp/backups/db
      - kind: code
        path: /home/flavio/webapp/backups/code
    to: /mnt/backups
    host: "{{ inventory_hostname }}"
  become: true
  become_user: flavio
"""

RETURN = r"""
copied:
  description: Ids that were copied, or would be.
  returned: when there is a destination
  type: list
  elements: str
  sample: [20260102T030405Z-0a1b2c]
present:
  description: Ids that were there.
  returned: when there is a destination
  type: list
  elements: str
copied_bytes:
  description: Bytes that were copied.
  returned: when there is a destination
  type: int
  sample: 30000000
sets:
  description: The backups that there are, for the action plugin.
  returned: with C(controller)
  type: list
  elements: dict
evidence:
  description: What the record of the run keeps.
  returned: success
  type: dict
note:
  description: The result in untranslated messages of C(text) and C(args).
  returned: success
  type: list
  elements: dict
failures:
  description: What went wrong, as untranslated messages.
  returned: failure
  type: list
  elements: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.backup import arguments, offsite
from ansible.module_utils.orquestrador.backup.offsite import CONTROLLER
from ansible.module_utils.orquestrador.core.messages import msg
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.lease.module import at_work

_RECORDED = {
    "directory": {"type": "path", "required": True},
    "kind": {"type": "str", "required": True},
    "id": {"type": "str", "required": True},
    "sha256": {"type": "str", "required": True},
}
ARGUMENT_SPEC = {
    **arguments.LOCATIONS,
    **arguments.LEASE,
    "to": {"type": "str", "default": ""},
    "host": {"type": "str", "required": True},
    "recorded": {"type": "list", "elements": "dict", "default": [], "options": _RECORDED},
    "timeout": {"type": "float", "default": 3600},
}
RANGES = {"timeout": (1, 7 * 86400)}


def main() -> None:
    """Copy, and fail last."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    host, to = params["host"], params["to"]
    if not host or "/" in host or host.startswith((".", "-")):
        module.fail_json(msg=f"host is {host!r}; give a plain name")
    with at_work(module, RANGES):
        if not to:
            module.exit_json(changed=False, evidence={}, note=[msg("No destination for copies is set.")])
        if to == CONTROLLER:
            for item in params["recorded"] if not module.check_mode else ():
                offsite.record_copy(item["directory"], item["kind"], item["id"], CONTROLLER, item["sha256"])
            module.exit_json(
                changed=bool(params["recorded"]), sets=offsite.list_for_controller(params["places"], CONTROLLER)
            )
        began = time.monotonic()
        result = offsite.copy_all(params["places"], to, host, timeout_s=params["timeout"], check_mode=module.check_mode)
        if result["failures"]:
            fail(module, *result.pop("failures"), **result)
        evidence = {
            "to": to,
            "copied": result["copied"],
            "present": len(result["present"]),
            "copied_bytes": result["copied_bytes"],
            "took_s": round(time.monotonic() - began, 3),
        }
        module.exit_json(**result, evidence=evidence, note=offsite.describe(result, to, module.check_mode))


if __name__ == "__main__":
    main()
