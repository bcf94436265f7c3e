#!/usr/bin/python
"""Back up an application's directory: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: code_backup
short_description: Back up an application's directory, compressed and encrypted, in one stream
description:
  - Streams the directory as tar through zstd and age into C(<dest>/<UTC>-<short>.tar.zst.age), written under another
    name, synced and renamed, with a manifest C(<dest>/<UTC>-<short>.json) beside it.
  - The directory holds secrets, as C(.env); its plaintext is in pipes only, and the host needs the public key only.
  - The manifest lists every file with its size, mode and SHA-256, every directory, and where every link points to.
    Links are kept as links. Sockets, FIFOs and devices are left out and named; a file that can't be read is a failure.
  - A tree that changes while it is read is read a second time. When it changes then, too, the backup is kept and
    what vanished or changed is named in the manifest and in RV(note), and RV(status) is C(warn).
  - With O(identity) the written file is decrypted again, and everything in it listed, hashed and compared with the
    source as it was read; only then the backup counts as verified.
  - A run that fails leaves nothing that looks like a backup; what a run that was killed left is removed by the next.
  - Run it as the user who owns O(source) and O(dest). With O(identity) it needs pipelining, or Ansible would write the
    private key into a file on the host.
options:
  dest:
    description: Directory of the backups of code, created when missing.
  source:
    description: Directory to back up.
    type: path
    required: true
  exclude:
    description:
      - Names of files and directories that are left out when they lie in O(source) itself, compared as they are. The
        same name further down is not left out.
    type: list
    elements: str
    default: [node_modules, dist, logs, backups]
  identity:
    description: Private key of age, to prove the backup with; without it the backup stays unverified.
    type: str
  level:
    description: Level of the compression, from 1 to 19.
    type: int
    default: 3
attributes:
  check_mode:
    description: Can run in check mode; looks at the tree, for room and programs, and writes nothing.
  diff_mode:
    description: There is nothing to compare; each run makes a backup of its own.
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.backup, orquestrador.backup_write]
"""

EXAMPLES = r"""
- name: Back up the application's directory
  code_backup:
    dest: /home/flavio/webapp/backups/code
    source: /home/flavio/webapp
    recipient: "{{ backup_age_recipient }}"
    identity: "{{ backup_age_identity }}"
  become: true
  become_user: flavio
"""

RETURN = r"""
path:
  description: The backup; null in check mode.
  returned: success
  type: str
  sample: /home/flavio/webapp/backups/code/20260102T030405Z-0a1b2c.tar.zst.age
backup:
  description: Its manifest, without the list of files; null in check mode.
  returned: success
  type: dict
files:
  description: How many files, directories and links the directory has.
  returned: success
  type: int
  sample: 120
swept:
  description: What runs that were killed had left, and was removed or completed.
  returned: success
  type: list
  elements: str
  sample: [.partial-20260102T030405Z-0a1b2c.tar.zst.age]
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
status:
  description: C(warn) when files changed while they were read, both times.
  returned: when it is not simply changed
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
from ansible.module_utils.orquestrador.backup.code import back_up, describe
from ansible.module_utils.orquestrador.backup.store import brief
from ansible.module_utils.orquestrador.core.messages import msg
from ansible.module_utils.orquestrador.lease.module import at_work

ARGUMENT_SPEC = {
    **arguments.BACKUP,
    **arguments.BACKUP_WRITE,
    **arguments.TREE,
    "source": {"type": "path", "required": True},
    "identity": {"type": "str", "no_log": True},
    "level": {"type": "int", "default": 3},
}
RANGES = {**arguments.RANGES, **arguments.RESERVE, **arguments.LEVEL}


def main() -> None:
    """Back up, and fail in one line."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with at_work(module, RANGES):
        result = back_up(
            params["dest"],
            source=params["source"],
            exclude=params["exclude"],
            recipient=params["recipient"],
            identity=params["identity"] or None,
            limits=arguments.limits(params),
            level=params["level"],
            check_mode=module.check_mode,
        )
        manifest = result["backup"]
        if manifest is None:
            text = msg("A backup of {files} files, directories and links would be made.", files=result["files"])
            module.exit_json(**result, evidence={}, note=[text])
        if manifest["unstable"]:
            result["status"] = "warn"
        result["backup"] = brief(manifest)
        evidence = {
            **{key: manifest[key] for key in ("id", "sha256", "unstable", "skipped")},
            **manifest["counts"],
            "source_bytes": manifest["bytes_source"],
            "file_bytes": manifest["bytes_file"],
            "took_s": manifest["duration_s"],
            "verified": manifest["verified"] is not None,
        }
        module.exit_json(**result, evidence=evidence, note=describe(manifest, result["path"]))


if __name__ == "__main__":
    main()
