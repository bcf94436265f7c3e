#!/usr/bin/python
"""One emergency procedure on its host, in one go."""

DOCUMENTATION = r"""
module: emergency
short_description: Diagnose an emergency and run its remediation ladder, proving each step
description:
  - Does one emergency procedure of the operational playbook where it happens, within a deadline of its own, so that a
    recovery that has begun neither depends on its controller nor runs on for longer than its budget.
  - Touches nothing when the application is well, when the root cause is another procedure's, or when another run holds
    the lease of the host.
  - Runs as root, and works as the application's user; without root's rights what needs them fails in one line.
  - A second process ends it, and all that it has started, when it does not end by itself at its deadline. One whose
    controller is gone goes on to its end; what it found and did is kept on the host, beside the lease.
options:
  procedure:
    description: The procedure; C(auto) only diagnoses which one it is.
    type: str
    required: true
    choices: [database, offline, performance, disk, auto]
  probe:
    description: The arguments of M(health_probe), as its own documentation has them.
    type: dict
    required: true
  budget_s:
    description: Seconds that everything on the host may take.
    type: float
    required: true
  stable_s:
    description: Seconds for which the application has to be well with the same processes before it counts as well.
    type: float
    default: 1
  lease_path:
    description: The lease file of the host.
    type: path
    required: true
  lease_run_id:
    description: The run that takes the lease, and that the evidence is kept under.
    type: str
    required: true
  lease_owner:
    description: Who started that run, and on which controller.
    type: str
    required: true
  lease_preempt:
    description: Take the lease from a routine.
    type: bool
    default: false
  app_ecosystem_file:
    description: The file that PM2 starts the application from.
    type: path
    required: true
  pm2_unit:
    description: The systemd unit of PM2.
    type: str
    required: true
  mysql_service:
    description: The systemd unit of the database.
    type: str
    default: mysql
  mysql_socket:
    description: The socket of the database, over which its root account is let in.
    type: path
  mysql_ops_user:
    description: The operations account, whose connections are not ended either.
    type: str
  dist:
    description: The directory of the build.
    type: path
    required: true
  build_state_dir:
    description: Where the ways back of builds are kept.
    type: path
    required: true
  kill_port_holder:
    description: End a foreign process that holds the application's port.
    type: bool
    default: false
  rollback:
    description: Go back to the build before when the application can't start from this one.
    type: bool
    default: false
  kill_idle_connections:
    description: End idle connections to the database when it has no more to give.
    type: bool
    default: false
  idle_s:
    description: Seconds for which a connection has to be idle before it may be ended.
    type: float
    default: 60
  heap_snapshot:
    description: Keep a heap snapshot of the heaviest process before it is restarted.
    type: bool
    default: false
  observe_s:
    description: Seconds for which a degraded application is observed after the last action.
    type: float
    default: 300
  memory_samples:
    description:
      - Samples of the application's memory from the history, oldest first, C(at) in seconds since 1970 and
        C(memory_bytes). Only samples since the application was last started count.
    type: list
    elements: dict
    default: []
  disk:
    description: Where things lie that may be expired, and when they are; needed for the procedure C(disk).
    type: dict
    suboptions:
      logs_dir:
        description: The directory of the logs.
        type: path
        required: true
      logs_archive_dir:
        description: The directory of the archives of logs.
        type: path
        required: true
      logs_archive_retention_days:
        description: Days after which an archive is expired.
        type: float
        default: 90
      logs_archive_keep_minimum:
        description: How many of the newest archives stay whatever their age.
        type: int
        default: 3
      backup_dir:
        description: The directory of the backups.
        type: path
        required: true
      backup_database_dir:
        description: The directory of the database's backups.
        type: path
        required: true
      backup_code_dir:
        description: The directory of the code's backups.
        type: path
        required: true
      backup_retention_days:
        description: Days after which a backup is expired.
        type: int
        default: 90
      backup_keep_minimum:
        description: How many of the newest proven backups stay whatever their age.
        type: int
        default: 3
  evidence_keep:
    description: How many runs' evidence is kept on the host.
    type: int
    default: 20
attributes:
  check_mode:
    description: Can run in check mode; probes, diagnoses and reports each step that would run, in order.
extends_documentation_fragment: [orquestrador]
"""

EXAMPLES = r"""
- name: Bring the application back
  emergency:
    procedure: offline
    probe: "{{ probe_arguments }}"
    budget_s: 110
    lease_path: /home/flavio/.local/state/orquestrador-ops/lease.json
    lease_run_id: 20251103T120000Z-1a2b3c
    lease_owner: operator@controller
    app_ecosystem_file: /home/flavio/webapp/ecosystem.config.cjs
    pm2_unit: pm2-flavio.service
    dist: /home/flavio/webapp/dist
    build_state_dir: /home/flavio/.local/state/orquestrador-ops/build
  become: true
"""

RETURN = r"""
outcome:
  description: C(healthy) when there was nothing to do, C(recovered), C(failed), or C(refused), nothing touched, as
    C(auto) always ends when something is wrong.
  returned: success
  type: str
diagnosis:
  description: The alert, its severity, the scenario behind it, reasons and proposals as untranslated messages, and
    C(level), the escalation level.
  returned: success
  type: dict
before:
  description: The snapshot and the verdict before anything was changed.
  returned: success
  type: dict
steps:
  description: By id and in order, each step with C(status), C(note), C(evidence), C(planned_s), C(used_s),
    C(started_at) and C(ended_at).
  returned: success
  type: dict
over_budget:
  description: Whether the time budget ended the procedure.
  returned: success
  type: bool
failures:
  description: What went wrong, as untranslated messages of C(text) and C(args).
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.orquestrador.emergency.arguments import ARGUMENT_SPEC, REQUIRED_IF, unusable
from ansible.module_utils.orquestrador.emergency.procedure import called
from ansible.module_utils.orquestrador.health import arguments


def main() -> None:
    """Do the procedure; only arguments that can't be used make the module fail."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, required_if=REQUIRED_IF, supports_check_mode=True)
    params = dict(module.params)
    checked = ArgumentSpecValidator(arguments.ARGUMENT_SPEC).validate(params.pop("probe"))
    problem = unusable(params) or next(iter(checked.error_messages), None)
    problem = problem or arguments.unusable(checked.validated_parameters)
    if problem is not None:
        module.fail_json(msg=problem, failures=[])
    result = called({**checked.validated_parameters, **params}, check_mode=module.check_mode)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
