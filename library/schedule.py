#!/usr/bin/python
"""Install the timers of the routines: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: schedule
short_description: Have timers of systemd, or cron, run the playbooks
description:
  - Writes a service and a timer for every job, or a block of lines into a crontab, and enables them. What it installed
    before and is wanted no longer is removed, so that nothing runs twice when O(kind) changes; what it did not install
    is never touched.
  - A job whose playbook does not exist in O(project) is left out.
  - The long routines are made up for after an outage (systemd only), a job at an interval never is.
  - Nothing secret goes into a unit or a line; a Vault password is named by its file.
options:
  state:
    description: Whether the schedule is to be there; V(absent) removes exactly what this module installed.
    type: str
    choices: [present, absent]
    default: present
  kind:
    description: V(systemd) is the system's timers, V(systemd_user) those of whoever runs this, V(cron) a crontab.
    type: str
    choices: [systemd, systemd_user, cron]
    default: systemd
  jobs:
    description: What runs when.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the job; its units are C(orquestrador-ops-<name>).
        type: str
        required: true
      playbook:
        description: The playbook, relative to O(project).
        type: str
        required: true
      'on':
        description: On which days, or at an interval.
        type: str
        choices: [daily, friday, first_friday, first_friday_of_quarter, interval]
        required: true
      at:
        description: Time of the day, HH:MM.
        type: str
        default: ''
      every_s:
        description: Seconds from one start to the next, for V(interval).
        type: int
        default: 0
      limit_s:
        description: Seconds after which a run that hangs is ended.
        type: int
        default: 3600
  project:
    description: Directory of the project, where the playbooks are.
    type: path
    required: true
  command:
    description: The command C(ansible-playbook), with its directory.
    type: path
    required: true
  arguments:
    description: Arguments of every run, before the playbook.
    type: list
    elements: str
    default: []
  environment:
    description: Environment of every run. No place for secrets.
    type: dict
    default: {}
  user:
    description: Who runs the playbooks; empty is whoever runs this module. Not for V(systemd_user).
    type: str
    default: ''
  timezone:
    description: Time zone of the times, for systemd. cron knows the host's only.
    type: str
    default: ''
  directory:
    description: Directory of the unit files; empty is the one that the kind has.
    type: path
    default: ''
attributes:
  diff_mode:
    description: Will return details on what has changed, or would in check mode, when in diff mode.
    support: full
  platform:
    platforms: linux
requirements:
  - Python >= 3.9
  - systemd, or cron
extends_documentation_fragment: [orquestrador]
"""

EXAMPLES = r"""
- name: Run the daily routine and the watch by timers of systemd
  schedule:
    project: /opt/orquestrador-ops
    command: /opt/orquestrador-ops/.venv/bin/ansible-playbook
    arguments: [-i, /etc/orquestrador-ops/hosts.yml]
    environment:
      ANSIBLE_CONFIG: /opt/orquestrador-ops/ansible.cfg
    user: ops
    timezone: America/Sao_Paulo
    jobs:
      - name: daily
        playbook: playbooks/routine/daily.yml
        'on': daily
        at: "09:00"
      - name: watch
        playbook: playbooks/monitoring/watch.yml
        'on': interval
        every_s: 60
        limit_s: 900

- name: Remove them
  schedule:
    state: absent
    project: /opt/orquestrador-ops
    command: /opt/orquestrador-ops/.venv/bin/ansible-playbook
"""

RETURN = r"""
jobs:
  description: Names of the jobs that are installed, or would be.
  returned: success
  type: list
  elements: str
  sample: [daily, watch]
left_out:
  description: Names of the jobs whose playbook does not exist.
  returned: success
  type: list
  elements: str
  sample: [quarterly]
failures:
  description: Why it failed, as messages.
  returned: failure
  type: list
  elements: dict
  sample: [{text: "systemctl daemon-reload failed: {reason}", args: {reason: Access denied}}]
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.core.messages import msg
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.schedule import install as schedule_install
from ansible.module_utils.orquestrador.schedule import plan as schedule

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "kind": {"type": "str", "choices": ["systemd", "systemd_user", "cron"], "default": "systemd"},
    "jobs": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "playbook": {"type": "str", "required": True},
            "on": {"type": "str", "choices": list(schedule.ON), "required": True},
            "at": {"type": "str", "default": ""},
            "every_s": {"type": "int", "default": 0},
            "limit_s": {"type": "int", "default": 3600},
        },
    },
    "project": {"type": "path", "required": True},
    "command": {"type": "path", "required": True},
    "arguments": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "dict", "default": {}},
    "user": {"type": "str", "default": ""},
    "timezone": {"type": "str", "default": ""},
    "directory": {"type": "path", "default": ""},
}
DIRECTORIES = {"systemd": "/etc/systemd/system", "systemd_user": "~/.config/systemd/user"}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        module.exit_json(**install(module))
    except schedule.ScheduleError as error:
        fail(module, *error.failures)
    except OSError as error:
        text = msg("The schedule could not be written: {reason}", reason=str(error))
        fail(module, text)


def install(module: AnsibleModule) -> dict:
    """Plan, and unless in check mode do it; what the module returns."""
    params = module.params
    jobs, left_out = jobs_of(params)
    environment = {str(name): str(value) for name, value in params["environment"].items()}
    context = schedule.Context(
        params["project"], params["command"], params["arguments"], environment, params["user"], params["timezone"]
    )
    schedule.check(jobs, context, cron=params["kind"] == "cron")
    change = plan(params, jobs, context)
    if change.needed and not module.check_mode:
        change.apply()
    return {"changed": change.needed, "diff": change.diff(), "jobs": [job.name for job in jobs], "left_out": left_out}


def plan(params: dict, jobs: list, context: schedule.Context) -> schedule_install.SchedulePlan:
    """What has to be done to timers and crontab: one of them has the jobs, the other none of ours."""
    kind, root = params["kind"], os.geteuid() == 0
    own = kind == "systemd_user" or (kind == "cron" and not root)
    directory = params["directory"] or DIRECTORIES["systemd_user" if own else "systemd"]
    timers = schedule_install.Timers(str(Path(directory).expanduser()), user=own)
    crontab = schedule_install.Crontab(params["user"] if root and not own else "")
    if kind == "cron":
        return schedule_install.plan_schedule(timers, {}, crontab, [schedule.cron_line(job, context) for job in jobs])
    return schedule_install.plan_schedule(timers, schedule.units(jobs, context, system=not own), crontab, [])


def jobs_of(params: dict) -> tuple:
    """The jobs to install, and the names of those whose playbook is not there."""
    if params["state"] == "absent":
        return [], []
    for what in ("project", "command"):
        if not Path(params[what]).exists():
            text = msg(
                "{path} does not exist on this host: correct the schedule's {what}", path=params[what], what=what
            )
            raise schedule.ScheduleError(text)
    jobs = [schedule.Job(**job) for job in params["jobs"]]
    there = [job for job in jobs if (Path(params["project"]) / job.playbook).is_file()]
    return there, [job.name for job in jobs if job not in there]


if __name__ == "__main__":
    main()
