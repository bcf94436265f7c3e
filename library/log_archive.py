#!/usr/bin/python
"""Archive logs without the loss of a line: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: log_archive
short_description: Archive logs while they are being written, losing no line
description:
  - Renames each log beside its place, has PM2 reopen its own, waits until nobody has the old file open for writing,
    compresses it into C(<dest>/logs-YYYYMMDD.tar.gz), reads that back and compares lines and SHA-256, and only then
    removes the old file. A second archive of a day is C(logs-YYYYMMDD-2.tar.gz). Nothing is copied and truncated.
  - PM2 drops what it has queued when it reopens its logs. Its bus is listened to meanwhile; lines that came into
    neither the old file nor the new one are written to the end of the old one before it is archived.
  - The archive begins with C(manifest.json), which holds path, bytes, lines and SHA-256 of each log.
  - A run that was killed is finished by the next one, whose archive takes what was renamed already.
  - A log that is a link, has several names, is kept open by a process other than PM2, or can't be read stays where it
    is and is named. One of another user's is renamed now and archived by a later run, because its writers can't be
    seen. Empty logs are passed over.
  - Logs that O(watched) matches are kept for a day as C(.<log>.<id>.kept) after they were archived, where
    M(health_probe) reads on.
  - Refuses while another run archives into the same directory, naming it.
  - Run it as the application's user. It never starts a PM2 daemon.
options:
  dest:
    description: Directory of the archives, created when missing.
    type: path
    required: true
  base:
    description: Directory that the names of logs in the archive are relative to.
    type: path
    required: true
  globs:
    description: Logs beside those of the application in PM2, as glob patterns. Not used with O(flush=true).
    type: list
    elements: str
    default: []
  watched:
    description: Logs that the probe reads, as glob patterns.
    type: list
    elements: str
    default: []
  pm2_command:
    description: The PM2 command, to ask a daemon that does not answer on its socket.
  flush:
    description:
      - Archive what PM2 keeps for itself, logs of processes that it has no more and, when it does not run, its own
        log. The application's logs only when no archive took them within O(fresh_s).
    type: bool
    default: false
  fresh_s:
    description: Seconds for which an archive counts as recent.
    type: float
    default: 3600
  quiet_s:
    description: Seconds for which another user's log has to be unchanged, once renamed, before it is archived.
    type: float
    default: 3600
  release_s:
    description: Seconds that PM2 has to reopen its logs.
    type: float
    default: 10
  timeout:
    description: Seconds that compressing and comparing may take.
    type: float
    default: 600
  timezone:
    description: Time zone of the day in an archive's name; the host's when empty or unknown there.
    type: str
    default: ""
  retention_days:
    description: Archives older than this are removed, those with a manifest of ours only.
    type: float
    default: 90
  keep_minimum:
    description: Archives that are kept however old they are.
    type: int
    default: 3
attributes:
  check_mode:
    description: Can run in check mode; names the logs and the archives to remove, and changes nothing.
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.pm2]
"""

EXAMPLES = r"""
- name: Archive the logs
  log_archive:
    dest: /home/flavio/webapp/logs/archive
    base: /home/flavio/webapp
    globs: [/home/flavio/webapp/logs/*.log]
    app_name: orquestrador-v3
    pm2_home: /home/flavio/.pm2
  become: true
  become_user: flavio
"""

RETURN = r"""
archive:
  description: The archive; null when there was nothing to archive, and in check mode.
  returned: always
  type: str
  sample: /home/flavio/webapp/logs/archive/logs-20260102.tar.gz
files:
  description: Entries of its manifest; in check mode path and bytes of what would be archived.
  returned: always
  type: list
  elements: dict
left:
  description: Logs that stay where they are, each with the reason as an untranslated message.
  returned: always
  type: list
  elements: dict
fresh:
  description: With O(flush=true), logs that a recent archive took.
  returned: always
  type: list
  elements: str
removed:
  description: Archives that were removed because of their age.
  returned: always
  type: list
  elements: dict
restored:
  description: Lines that PM2 dropped while it reopened its logs and that were written where they belong.
  returned: always
  type: int
  sample: 0
status:
  description: C(ok), C(changed), or C(warn) when a log had to be left.
  returned: success
  type: str
note:
  description: The result as untranslated messages of C(text) and C(args).
  returned: success
  type: list
  elements: dict
evidence:
  description: What the record of the run keeps.
  returned: always
  type: dict
failures:
  description: What went wrong, as untranslated messages.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.lease.keeper import OPTION
from ansible.module_utils.orquestrador.lease.module import at_work
from ansible.module_utils.orquestrador.logs.archive import archive, summary
from ansible.module_utils.orquestrador.logs.selection import Options

ARGUMENT_SPEC = {
    "dest": {"type": "path", "required": True},
    "base": {"type": "path", "required": True},
    "globs": {"type": "list", "elements": "str", "default": []},
    "watched": {"type": "list", "elements": "str", "default": []},
    "app_name": {"type": "str", "required": True},
    "pm2_home": {"type": "path", "required": True},
    "pm2_command": {"type": "str", "default": "pm2"},
    "flush": {"type": "bool", "default": False},
    "fresh_s": {"type": "float", "default": 3600},
    "quiet_s": {"type": "float", "default": 3600},
    "release_s": {"type": "float", "default": 10},
    "timeout": {"type": "float", "default": 600},
    "timezone": {"type": "str", "default": ""},
    "retention_days": {"type": "float", "default": 90},
    "keep_minimum": {"type": "int", "default": 3},
    "lease": OPTION,
}
RANGES = {
    "fresh_s": (0, 30 * 86400),
    "quiet_s": (0, 30 * 86400),
    "release_s": (0.1, 600),
    "timeout": (1, 86400),
    "retention_days": (1, 36500),
    "keep_minimum": (0, 100000),
}
PATHS = ("dest", "base", "pm2_home")


def main() -> None:
    """Archive the logs; fail with one line for each problem."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = {name: value for name, value in module.params.items() if name != "lease"}
    relative = [name for name in PATHS if not params[name].startswith("/")]
    if relative:
        module.fail_json(msg=f"{relative[0]} is {params[relative[0]]!r}; give an absolute path")
    with at_work(module, RANGES, umask=0o027):
        options = Options(archive_dir=params.pop("dest"), timeout_s=params.pop("timeout"), **params)
        result = archive(options, check_mode=module.check_mode)
        notes = result.pop("notes")
        if result["failures"]:
            fail(module, *result.pop("failures"), **result)
        status = "warn" if result["left"] else "changed" if result["changed"] else "ok"
        notes = [summary(result, check_mode=module.check_mode), *notes, *(item["message"] for item in result["left"])]
        module.exit_json(**result, status=status, note=notes)


if __name__ == "__main__":
    main()
