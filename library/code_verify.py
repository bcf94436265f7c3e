#!/usr/bin/python
"""Prove a backup of an application's directory: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: code_verify
short_description: Prove a backup of an application's directory by reading its file again
description:
  - Compares the file's SHA-256 with its manifest, decrypts it, and compares everything in it with what the manifest
    lists, which is the source as it was read. Nothing is written but the proof, into the manifest.
  - A backup that was proven before and is found damaged loses that mark.
  - Needs pipelining, or Ansible would write the private key into a file on the host.
attributes:
  check_mode:
    description: Can run in check mode; looks for the backup and the programs only.
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.backup, orquestrador.backup_read]
"""

EXAMPLES = r"""
- name: Prove the newest backup of the application's directory
  code_verify:
    dest: /home/flavio/webapp/backups/code
    identity: "{{ backup_age_identity }}"
  become: true
  become_user: flavio
"""

RETURN = r"""
path:
  description: The backup.
  returned: success
  type: str
  sample: /home/flavio/webapp/backups/code/20260102T030405Z-0a1b2c.tar.zst.age
backup:
  description: Its manifest, without the list of files.
  returned: success
  type: dict
evidence:
  description: What the record of the run keeps.
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
from ansible.module_utils.orquestrador.backup import arguments
from ansible.module_utils.orquestrador.backup.code import verify
from ansible.module_utils.orquestrador.backup.store import brief
from ansible.module_utils.orquestrador.core.messages import msg
from ansible.module_utils.orquestrador.lease.module import at_work

ARGUMENT_SPEC = {**arguments.BACKUP, **arguments.BACKUP_READ}


def main() -> None:
    """Prove, and fail in one line."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with at_work(module, arguments.RANGES):
        result = verify(
            params["dest"],
            backup=params["backup"],
            identity=params["identity"],
            timeout_s=params["timeout"],
            stall_s=params["stall"],
            check_mode=module.check_mode,
        )
        result["backup"] = brief(result["backup"])
        if module.check_mode:
            module.exit_json(**result, evidence={}, note=msg("{path} would be proven.", path=result["path"]))
        proof = result["backup"]["verified"]
        note = msg(
            "{files} files, directories and links, {source_bytes}, are in {path} as they were read, {age_s} after"
            " the backup",
            files=proof["files"],
            source_bytes=proof["bytes_source"],
            path=result["path"],
            age_s=proof["age_s"],
        )
        module.exit_json(**result, evidence={"id": result["backup"]["id"], **proof}, note=note)


if __name__ == "__main__":
    main()
