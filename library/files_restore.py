#!/usr/bin/python
"""Restore an application's directory or its critical files: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files_restore
short_description: Restore an application's directory from a backup, or critical files from their copies
description:
  - Refuses without O(confirm), and a backup that was not proven unless told.
  - C(code) makes and proves a safety backup, unpacks the backup beside what is there, compares every file with the
    manifest, and puts the files in place by renaming. A failure at any moment leaves the old files; a kill leaves the
    old or the new ones, and the next backup or restore finishes what it interrupted.
  - Files that the backup does not have go; they are in the safety backup. What the backup leaves out stays as it is.
  - Nothing is done when the files are those of the backup already. Owners are not restored, everything becomes the
    user's who runs it; modes and times of change are.
  - C(critical) replaces each file whose content differs from its copy's at once, keeping mode and owner, after what is
    there was copied as M(critical_files) does.
  - Run it as the user who owns the files. With C(code) it needs pipelining, or Ansible would write the private key
    into a file on the host.
options:
  what:
    description: What to restore.
    type: str
    choices: [code, critical]
    required: true
  confirm:
    description: Has to be O(name); nothing is restored without it, except in check mode.
    type: str
    default: ''
  name:
    description: Name of the application.
    type: str
    required: true
  backup:
    description:
      - For C(code) its id, its file, or C(latest), the newest that is no safety backup. For C(critical) the name of a
        copy, or C(latest).
    type: str
    default: ''
  dest:
    description: Directory of the backups of code; with C(critical), of the copies.
  source:
    description: Directory to restore, with C(code).
    type: path
  exclude:
    description: Names in O(source) itself that are left as they are, together with those that the backup left out.
    type: list
    elements: str
    default: [node_modules, dist, logs, backups]
  identity:
    description: Private key of age, with C(code).
    type: str
  recipient:
    description: Public key of age for the safety backup, with C(code).
    required: false
  unverified:
    description: Whether a backup that was not proven is restored.
    type: bool
    default: false
  outside_links:
    description: Whether a backup with links that lead out of O(source) is restored, links and all.
    type: bool
    default: false
  files:
    description: The critical files, with C(critical); whether one is required makes no difference here.
    default: []
  only:
    description: Names of the critical files to restore; empty for all that have such a copy.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Can run in check mode; lists what would be added, changed and removed, and changes nothing.
  diff_mode:
    description: Shows names, never contents, because the files hold secrets.
    support: full
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.backup, orquestrador.backup_write,
  orquestrador.critical]
"""

EXAMPLES = r"""
- name: Restore the newest backup of the application's directory
  files_restore:
    what: code
    name: orquestrador-v3
    confirm: "{{ backup_restore_confirm }}"
    backup: latest
    dest: /home/flavio/webapp/backups/code
    source: /home/flavio/webapp
    identity: "{{ backup_age_identity }}"
    recipient: "{{ backup_age_recipient }}"
  become: true
  become_user: flavio

- name: Restore the newest copy of one critical file
  files_restore:
    what: critical
    name: orquestrador-v3
    confirm: orquestrador-v3
    backup: latest
    dest: /home/flavio/webapp/backups/critical
    only: [.env]
    files:
      - name: .env
        path: /home/flavio/webapp/.env
  become: true
  become_user: flavio
"""

RETURN = r"""
path:
  description: The backup that was restored.
  returned: success, with C(code)
  type: str
  sample: /home/flavio/webapp/backups/code/20260102T030405Z-0a1b2c.tar.zst.age
safety:
  description: The backup of what was there; null when nothing was done or nothing was there.
  returned: success, with C(code)
  type: str
  sample: /home/flavio/webapp/backups/code/20260103T030405Z-0a1b2c.tar.zst.age
changes:
  description: Names that were, or would be, C(added), C(changed) and C(removed); the first hundred of each.
  returned: success, with C(code)
  type: dict
files:
  description: The critical files with C(name), C(path), C(copy) and C(changed).
  returned: with C(critical)
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

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.backup import arguments
from ansible.module_utils.orquestrador.backup.restore_files import (
    SHOWN_CHANGES,
    RestoreRequest,
    describe,
    diff_text,
    require_confirmation,
    restore_code,
    restore_critical,
)
from ansible.module_utils.orquestrador.backup.tree import printable
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.lease.module import at_work
from ansible.module_utils.orquestrador.system.dated_copies import OPTION

ARGUMENT_SPEC = {
    **arguments.BACKUP,
    **arguments.BACKUP_WRITE,
    **arguments.TREE,
    "what": {"type": "str", "choices": ["code", "critical"], "required": True},
    "confirm": {"type": "str", "default": ""},
    "name": {"type": "str", "required": True},
    "backup": {"type": "str", "default": ""},
    "identity": {"type": "str", "no_log": True},
    "recipient": {"type": "str"},
    "unverified": {"type": "bool", "default": False},
    "outside_links": {"type": "bool", "default": False},
    "files": {**OPTION, "default": []},
    "only": {"type": "list", "elements": "str", "default": []},
}


def code(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Restore the directory; what the module returns."""
    names = ("dest", "backup", "source", "exclude", "identity", "recipient", "unverified", "outside_links")
    request = RestoreRequest(*(params[name] for name in names))
    result = restore_code(request, arguments.limits(params), check_mode=check_mode)
    found = result["changes"]
    return {
        **{key: result[key] for key in ("changed", "path", "safety")},
        "changes": {name: [printable(path) for path in paths[:SHOWN_CHANGES]] for name, paths in found.items()},
        "diff": diff_text(found),
        "evidence": {
            "id": result["backup"]["id"],
            "safety": result["safety"],
            "resumed": result["resumed"],
            **{name: len(paths) for name, paths in found.items()},
        },
        "note": describe(result, "code", check_mode),
    }


def critical(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Restore critical files; what the module returns."""
    result = restore_critical(
        params["files"],
        params["dest"],
        names=params["only"],
        copy_name=params["backup"] or "latest",
        check_mode=check_mode,
    )
    names = [report["name"] for report in result["files"] if report["changed"]]
    evidence = {"files": result["files"]}
    diff = {
        "before": "".join(f"{name} (as it is)\n" for name in names),
        "after": "".join(f"{name} (as it was)\n" for name in names),
    }
    return {**result, "diff": diff, "evidence": evidence, "note": describe(result, "critical", check_mode)}


def main() -> None:
    """Restore, and fail in one line."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("what", "code", ("source", "identity", "recipient")), ("what", "critical", ("files",))],
    )
    params = module.params
    with at_work(module, {**arguments.RANGES, **arguments.RESERVE}):
        if not module.check_mode:
            require_confirmation(params["confirm"], params["name"])
        result = (code if params["what"] == "code" else critical)(params, module.check_mode)
        if result.get("failures"):
            fail(module, *result.pop("failures"), **result)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
