#!/usr/bin/python
"""Back up a database in one stream: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_backup
short_description: Back up a database, compressed and encrypted, in one stream
description:
  - Streams the server's own dump program through zstd and age into C(<dest>/<UTC>-<short>.sql.zst.age), written under
    another name, synced and renamed, with a manifest C(<dest>/<UTC>-<short>.json) beside it.
  - The plaintext is never on the disk; the host needs the public key only. Credentials are read from an option file.
  - The manifest holds the file's SHA-256, the rows and a digest of each table as they stand in the dump, and a digest
    of each table, view, routine, trigger and event, so that a restore can be compared with what was dumped.
  - Every process of the stream and the dump's last line are checked. A run that fails leaves nothing that looks like a
    backup; what a run that was killed left is removed by the next one.
  - Refuses while another run works in the same directory, naming it.
  - Run it as the user who owns O(dest) and the option file.
options:
  dest:
    description: Directory of the database's backups, created when missing.
  name:
    description: Schema to back up.
    type: str
    required: true
  defaults_file:
    description: Option file with the credential, mode 0600.
    type: path
    required: true
  level:
    description: Level of the compression, from 1 to 19; the first is as small as gzip's and costs half of the third.
    type: int
    default: 1
attributes:
  check_mode:
    description: Can run in check mode; asks the database and looks for room and programs, and writes nothing.
  diff_mode:
    description: There is nothing to compare; each run makes a backup of its own.
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.backup, orquestrador.backup_write]
"""

EXAMPLES = r"""
- name: Back up the database
  database_backup:
    dest: /home/flavio/webapp/backups/db
    name: orquestrador_ia
    defaults_file: /home/flavio/.config/orquestrador-ops/mysql.cnf
    recipient: "{{ backup_age_recipient }}"
  become: true
  become_user: flavio
"""

RETURN = r"""
path:
  description: The backup; null in check mode.
  returned: success
  type: str
  sample: /home/flavio/webapp/backups/db/20260102T030405Z-0a1b2c.sql.zst.age
backup:
  description: Its manifest, without the digests of tables and structure; null in check mode.
  returned: success
  type: dict
swept:
  description: What runs that were killed had left, and was removed or completed.
  returned: success
  type: list
  elements: str
  sample: [.partial-20260102T030405Z-0a1b2c.sql.zst.age]
needed_bytes:
  description: What the backup was expected to take.
  returned: success
  type: int
  sample: 30000000
free_bytes:
  description: What was free before.
  returned: success
  type: int
  sample: 8000000000
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
from ansible.module_utils.orquestrador.backup.database import back_up
from ansible.module_utils.orquestrador.backup.store import brief
from ansible.module_utils.orquestrador.core.messages import msg
from ansible.module_utils.orquestrador.lease.module import at_work

ARGUMENT_SPEC = {
    **arguments.BACKUP,
    **arguments.BACKUP_WRITE,
    "name": {"type": "str", "required": True},
    "defaults_file": {"type": "path", "required": True},
    "level": {"type": "int", "default": 1},
}
RANGES = {**arguments.RANGES, **arguments.RESERVE, **arguments.LEVEL}


def main() -> None:
    """Back up, and fail in one line."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with at_work(module, RANGES):
        result = back_up(
            params["dest"],
            defaults_file=params["defaults_file"],
            name=params["name"],
            recipient=params["recipient"],
            limits=arguments.limits(params),
            level=params["level"],
            check_mode=module.check_mode,
        )
        manifest = result["backup"]
        if manifest is None:
            module.exit_json(**result, evidence={}, note=msg("A backup would be made."))
        result["backup"] = brief(manifest)
        evidence = {key: manifest[key] for key in ("id", "sha256", "rows", "bytes_dump", "bytes_file", "duration_s")}
        note = msg(
            "{rows} rows of {tables} tables, {dump_bytes}, stored as {file_bytes} in {path}",
            rows=manifest["rows"],
            tables=len(manifest["tables"]),
            dump_bytes=manifest["bytes_dump"],
            file_bytes=manifest["bytes_file"],
            path=result["path"],
        )
        module.exit_json(**result, evidence=evidence, note=note)


if __name__ == "__main__":
    main()
