#!/usr/bin/python
"""Restore a backup over the database in production: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_restore
short_description: Restore a backup over the database in production, with a way back
description:
  - Refuses, before anything is changed, without the confirmation, a backup that is unknown, not proven, damaged, of
    another database, of another product or of a newer version, a key that does not fit, and too little free space.
  - Then stops the application under PM2, backs up what is there, drops the database, loads the backup in one stream
    through age, zstd and the server's client, and compares every row and every object with what was dumped. Events do
    not fire meanwhile. The application is started, and proven by its health address.
  - Whatever fails after the stop is undone. The safety backup is loaded and the application started; the failure says
    what became of both. A journal C(<dest>/.restore.json) tells the next run of one that was killed.
  - Run it as root; it works as O(app_user) and takes root's rights only for the database's socket and for PM2's
    commands. With O(admin_defaults_file) it may run as O(app_user).
  - Needs pipelining, or Ansible would write the private key into a file on the host.
options:
  backup:
    description: The backup, by its id, by its file, or C(latest), the newest that is no safety backup.
    default: ''
  name:
    description: Database that is replaced.
    type: str
    required: true
  confirm:
    description: The name of the database again, from the operator.
    type: str
    default: ''
  unverified:
    description: Whether a backup that was not proven is restored.
    type: bool
    default: false
  recipient:
    description: Public key of age, for the safety backup.
  defaults_file:
    description: Option file of the account that makes the safety backup.
    type: path
    required: true
  admin_socket:
    description: Socket of the server, which lets in root as root.
    type: path
    default: /run/mysqld/mysqld.sock
  admin_defaults_file:
    description: Option file of an account that may restore, instead of the socket.
    type: path
  timeout:
    description: Seconds that restoring may take, and putting back as many again.
  app_user:
    description: User that owns the application, its PM2 and the backups.
    type: str
    required: true
  app_port:
    description: Port on which nobody may listen while the application is stopped.
    type: int
    required: true
  app_ecosystem_file:
    description: File that PM2 starts the application from when it does not know it.
    type: path
    required: true
  app_health_url:
    description: Health address of the application.
    type: str
    required: true
  app_timeout:
    description: Seconds that the application may take to stop, to start, and to be healthy.
    type: float
    default: 60
  status_expected:
    description: What the health address gives as C(status).
    type: str
    default: ok
  database_expected:
    description: What the health address gives as C(database).
    type: str
    default: connected
attributes:
  check_mode:
    description: Can run in check mode; looks at all that could be in the way, and changes nothing.
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.backup, orquestrador.backup_read,
  orquestrador.backup_write, orquestrador.pm2]
"""

EXAMPLES = r"""
- name: Restore the newest backup
  database_restore:
    dest: /home/flavio/webapp/backups/db
    backup: latest
    name: orquestrador_ia
    confirm: "{{ confirm }}"
    identity: "{{ backup_age_identity }}"
    recipient: "{{ backup_age_recipient }}"
    defaults_file: /home/flavio/.config/orquestrador-ops/mysql.cnf
    app_name: orquestrador-v3
    app_user: flavio
    app_port: 3001
    app_ecosystem_file: /home/flavio/webapp/ecosystem.config.cjs
    app_health_url: http://127.0.0.1:3001/api/health
    pm2_home: /home/flavio/.pm2
  become: true
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
  description: What was done, or in check mode would be, as untranslated messages of C(text) and C(args).
  returned: success
  type: list
  elements: dict
failures:
  description: What went wrong, what was undone and what is left to do, as untranslated messages.
  returned: failure
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.app.control import Application, Settings
from ansible.module_utils.orquestrador.backup import arguments
from ansible.module_utils.orquestrador.backup.restore_database import RestoreRequest, restore
from ansible.module_utils.orquestrador.backup.store import brief
from ansible.module_utils.orquestrador.lease.module import at_work
from ansible.module_utils.orquestrador.mysql.load import Admin
from ansible.module_utils.orquestrador.system.identity import Owner

ARGUMENT_SPEC = {
    **arguments.BACKUP,
    **arguments.BACKUP_READ,
    **arguments.BACKUP_WRITE,
    "backup": {"type": "str", "default": ""},
    "name": {"type": "str", "required": True},
    "confirm": {"type": "str", "default": ""},
    "unverified": {"type": "bool", "default": False},
    "defaults_file": {"type": "path", "required": True},
    "admin_socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
    "admin_defaults_file": {"type": "path"},
    "app_name": {"type": "str", "required": True},
    "app_user": {"type": "str", "required": True},
    "app_port": {"type": "int", "required": True},
    "app_ecosystem_file": {"type": "path", "required": True},
    "app_health_url": {"type": "str", "required": True},
    "app_timeout": {"type": "float", "default": 60},
    "pm2_home": {"type": "path", "required": True},
    "pm2_command": {"type": "str", "default": "pm2"},
    "status_expected": {"type": "str", "default": "ok"},
    "database_expected": {"type": "str", "default": "connected"},
}
RANGES = {**arguments.RANGES, **arguments.RESERVE, "app_port": (1, 65535), "app_timeout": (1, 3600)}


def main() -> None:
    """Restore, and fail in one line for each thing that has to be known."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with at_work(module, RANGES):
        names = ("backup", "name", "confirm", "unverified", "identity", "recipient", "defaults_file")
        request = RestoreRequest(
            directory=params["dest"],
            limits=arguments.limits(params),
            app_timeout_s=params["app_timeout"],
            **{name: params[name] for name in names},
        )
        settings = Settings(
            name=params["app_name"],
            port=params["app_port"],
            ecosystem=params["app_ecosystem_file"],
            health_url=params["app_health_url"],
            **{name: params[name] for name in ("pm2_home", "pm2_command", "status_expected", "database_expected")},
        )
        owner = Owner(params["app_user"])
        admin = Admin(owner, params["admin_socket"], params["admin_defaults_file"] or "")
        with owner.at_work():
            result = restore(request, admin, Application(owner, settings), check_mode=module.check_mode)
        manifest, notes = result.pop("backup"), result.pop("notes")
        module.exit_json(**result, note=notes, backup=brief(manifest))


if __name__ == "__main__":
    main()
