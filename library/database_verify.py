#!/usr/bin/python
"""Prove a backup of a database by restoring it: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_verify
short_description: Prove a backup of a database by restoring it into a throwaway server
description:
  - Compares the file's SHA-256 with its manifest, decrypts and restores it into a server that is started for it
    alone, without network and event scheduler, and dumps that server again.
  - The backup counts as proven when rows and data of every table, and every table, column, index, view, routine,
    trigger and event are those that were dumped. The manifest then says when, how, how long the restore took and how
    old the backup was; a backup that was proven before and is found damaged loses that mark.
  - The server and its directory are removed, after a killed run by the next one.
  - Where no second server can be started, it is a scratch schema that is restored into, by an account that can reach no
    other. Triggers, routines and events are not brought into a server in production and not compared then, nor are the
    owners of views; the manifest says so.
  - Needs pipelining, or Ansible would write the private key into a file on the host.
options:
  backup:
    description:
      - The backup, by its id, by its file, or C(latest). Empty for one that should have been made just before, which
        fails except in check mode.
  method:
    description:
      - Where it is restored. C(auto) is a throwaway server, and a scratch schema of the server in production only where
        no second server can be started, for want of its program or because a profile such as AppArmor's forbids it.
    type: str
    choices: [auto, throwaway_server, scratch_schema]
    default: auto
  defaults_file:
    description:
      - Option file that says where the server in production is, and whose password O(user) has. Without one there is no
        scratch schema.
    type: path
  user:
    description: Account that may use scratch schemas and nothing else.
    type: str
    default: orquestrador_verify
  reserve_bytes:
    description: Free space that the proof must leave, in bytes.
    type: int
    default: 1073741824
  timeout:
    default: 7200
attributes:
  check_mode:
    description: Can run in check mode; looks for the backup and the programs only.
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.backup, orquestrador.backup_read]
"""

EXAMPLES = r"""
- name: Prove the newest backup
  database_verify:
    dest: /home/flavio/webapp/backups/db
    identity: "{{ backup_age_identity }}"
  become: true
  become_user: flavio
"""

RETURN = r"""
path:
  description: The backup.
  returned: success
  type: str
  sample: /home/flavio/webapp/backups/db/20260102T030405Z-0a1b2c.sql.zst.age
backup:
  description: Its manifest, without the digests of tables and structure.
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
from ansible.module_utils.orquestrador.backup.store import brief
from ansible.module_utils.orquestrador.backup.verify import METHODS, ProofMethod, verify
from ansible.module_utils.orquestrador.core.messages import msg
from ansible.module_utils.orquestrador.lease.module import at_work

ARGUMENT_SPEC = {
    **arguments.BACKUP,
    **arguments.BACKUP_READ,
    "method": {"type": "str", "choices": list(METHODS), "default": "auto"},
    "defaults_file": {"type": "path"},
    "user": {"type": "str", "default": "orquestrador_verify"},
    "reserve_bytes": {"type": "int", "default": 1024**3},
    "timeout": {"type": "float", "default": 7200},
}


def main() -> None:
    """Prove, and fail in one line."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with at_work(module, {**arguments.RANGES, **arguments.RESERVE}):
        result = verify(
            params["dest"],
            backup=params["backup"],
            identity=params["identity"],
            limits=arguments.limits(params),
            method=ProofMethod(params["method"], params["defaults_file"] or "", params["user"]),
            check_mode=module.check_mode,
        )
        result["backup"] = brief(result["backup"])
        if module.check_mode:
            module.exit_json(**result, evidence={}, note=msg("{path} would be proven.", path=result["path"]))
        proof = result["backup"]["verified"]
        figures = {key: proof[key] for key in ("rows", "tables", "restore_s", "age_s")}
        if proof["method"] == "scratch_schema":
            note = msg(
                "{rows} rows of {tables} tables are as they were dumped; restored into a scratch schema in {restore_s},"
                " {age_s} after the backup; triggers, routines and events are not compared",
                **figures,
            )
        else:
            note = msg(
                "{rows} rows of {tables} tables are as they were dumped; restored in {restore_s}, {age_s} after the"
                " backup",
                **figures,
            )
        module.exit_json(**result, evidence={"id": result["backup"]["id"], **proof}, note=note)


if __name__ == "__main__":
    main()
