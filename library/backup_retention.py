#!/usr/bin/python
"""Delete old backups, as long as enough proven ones stay: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_retention
short_description: Delete old backups, as long as enough that were proven stay
description:
  - Deletes, for each directory by itself, backups older than O(days), but never the newest O(keep_minimum) that are
    verified and whole, and nothing at all while the newest backup is not proven, is damaged, or is itself older than
    O(days). A safety backup that was not proven does not count as the newest.
  - Damaged backups, whose data is missing or has another size than its manifest says, are not counted. Backups from
    the future are kept and named. Only files with a manifest of this project are ever deleted, the data first, then
    the manifest; other names and links are not touched.
  - Copies elsewhere are not deleted.
options:
  days:
    description: Days that a backup is kept.
    type: int
    default: 90
  keep_minimum:
    description: Verified backups that are kept whatever their age.
    type: int
    default: 3
attributes:
  check_mode:
    description: Can run in check mode; says what would be deleted and deletes nothing.
  diff_mode:
    description: Shows the ids that are deleted.
    support: full
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.places]
"""

EXAMPLES = r"""
- name: Delete old backups
  backup_retention:
    places:
      - kind: database
        path: /home/flavio/webapp/backups/db
      - kind: code
        path: /home/flavio/webapp/backups/code
    days: 90
    keep_minimum: 3
  become: true
  become_user: flavio
"""

RETURN = r"""
places:
  description: For each directory C(kind), C(path), the ids C(deleted), C(kept), C(damaged) and C(ahead) (from the
    future), C(freed_bytes), and C(reason) when nothing was deleted although something is old.
  returned: always
  type: list
  elements: dict
status:
  description: C(warn) when the newest backup of a directory stands in the way.
  returned: then
  type: str
  sample: warn
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

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.backup import arguments
from ansible.module_utils.orquestrador.backup.retention import apply, describe
from ansible.module_utils.orquestrador.core.errors import OperatorError
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.lease.module import at_work

ARGUMENT_SPEC = {
    **arguments.LOCATIONS,
    **arguments.LEASE,
    "days": {"type": "int", "default": 90},
    "keep_minimum": {"type": "int", "default": 3},
}
RANGES = {"days": (1, 36500), "keep_minimum": (1, 1000)}


def main() -> None:
    """Delete in each directory, and fail last."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with at_work(module, RANGES):
        bounds = {name: params[name] for name in RANGES}
        done, said, failures = [], [], []
        for place in params["places"]:
            try:
                result = apply(place["path"], place["kind"], **bounds, check_mode=module.check_mode)
            except OperatorError as error:
                failures.append(error.message)
                continue
            done.append(result)
            said.extend(describe(result, params["days"], module.check_mode))
        deleted = [f"{result['path']}/{name}\n" for result in done for name in result["deleted"]]
        answer = {"changed": bool(deleted), "places": done, "diff": {"before": "".join(deleted), "after": ""}}
        if failures:
            fail(module, *failures, **answer)
        if any(result["reason"] for result in done):
            answer["status"] = "warn"
        evidence = {
            "places": done,
            "deleted": len(deleted),
            "kept": sum(len(result["kept"]) for result in done),
            "freed_bytes": sum(result["freed_bytes"] for result in done),
        }
        module.exit_json(**answer, evidence=evidence, note=said)


if __name__ == "__main__":
    main()
