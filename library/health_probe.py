#!/usr/bin/python
"""Observe one application and its host: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_probe
short_description: Probe a PM2 application, its database and its host in one round trip
description:
  - Collects a snapshot of the application under PM2, its port, its health endpoint, its database server, the host's
    resources, its error logs and the copies of its critical files, side by side and each within its own timeout.
  - Compares the snapshot with what the operational playbook expects and returns a verdict of named checks.
  - Never fails because of what it observes; a collector that fails leaves a null and an entry in
    C(snapshot.errors). It fails only when its arguments can't be used.
  - Never changes anything, and never returns a secret.
options:
  app_user:
    description: User that runs the application and owns its PM2 daemon.
    type: str
    required: true
  app_dir:
    description: Directory of the application.
    type: path
    required: true
  app_port:
    description: TCP port on which the application listens.
    type: int
    required: true
  app_health_url:
    description: URL of the health endpoint, V(http) or V(https). Redirects are not followed.
    type: str
    required: true
  app_env_file:
    description:
      - File with the environment of the application, whose secret values are removed from everything returned.
      - By default C(.env) in O(app_dir).
    type: path
  pm2_command:
    description: How C(pm2) is called when the daemon lives and its socket does not answer properly.
  mysql_defaults_file:
    description:
      - Option file with a section C([client]) that gives user, password, and socket or host and port.
      - Should have mode 0600. The Unix socket is preferred.
    type: path
    required: true
  mysql_database:
    description: Name of the application's database.
    type: str
    required: true
  log_globs:
    description: Shell patterns of the error logs.
    type: list
    elements: str
    required: true
  critical_files:
    description: Files that must have a current copy in O(critical_dest). An empty list leaves C(snapshot.files) null.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the file's directory of copies.
        type: str
        required: true
      path:
        description: Path of the file.
        type: path
        required: true
      required:
        description: Whether its absence is an error.
        type: bool
        default: true
  critical_dest:
    description: Directory of the copies; required when O(critical_files) is not empty.
    type: path
  disk_paths:
    description: Paths whose file systems are examined. By default O(app_dir) and C(/).
    type: list
    elements: path
  http_requests:
    description: How many requests are made, one after another. The first without a complete answer is the last.
    type: int
    default: 5
  http_timeout:
    description: Seconds that one request has until its answer is complete.
    type: float
    default: 3.0
  collector_timeout:
    description: Seconds that each collector has.
    type: float
    default: 5.0
  timeout:
    description: Seconds that the whole probe has.
    type: float
    default: 20.0
  log_max_bytes:
    description: How much of the logs is read at most.
    type: int
    default: 67108864
  slow_query_s:
    description: Seconds from which a running statement is reported.
    type: float
    default: 2.0
  cpu_interval:
    description:
      - Seconds over which the processor is measured.
      - Measured once more over one second when the application exceeds C(expectations.cpu_percent).
    type: float
    default: 0.05
  expectations:
    description: Thresholds of the verdict that differ from its defaults.
    type: dict
    default: {}
  memory:
    description: What RV(memory) of the last run of the same procedure was; opaque.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Can run in check mode; it changes nothing in either mode.
  platform:
    platforms: linux
requirements:
  - Python >= 3.9
  - PyMySQL
extends_documentation_fragment: [orquestrador, orquestrador.pm2]
"""

EXAMPLES = r"""
- name: Observe the application
  health_probe:
    app_name: orquestrador-v3
    app_user: flavio
    app_dir: /home/flavio/webapp
    app_port: 3001
    app_health_url: http://127.0.0.1:3001/api/health
    pm2_home: /home/flavio/.pm2
    mysql_defaults_file: /home/flavio/.orquestrador/my.cnf
    mysql_database: orquestrador_ia
    log_globs:
      - /home/flavio/webapp/logs/error*.log
    expectations:
      latency_sla_ms: 150
  register: probe

- name: Observe the application and the copies of its critical files
  health_probe:
    app_name: orquestrador-v3
    app_user: flavio
    app_dir: /home/flavio/webapp
    app_port: 3001
    app_health_url: http://127.0.0.1:3001/api/health
    pm2_home: /home/flavio/.pm2
    mysql_defaults_file: /home/flavio/.orquestrador/my.cnf
    mysql_database: orquestrador_ia
    log_globs:
      - /home/flavio/webapp/logs/error*.log
    critical_dest: /home/flavio/webapp/backups/critical
    critical_files:
      - name: env
        path: /home/flavio/webapp/.env
"""

RETURN = r"""
snapshot:
  description:
    - What is. Each of C(pm2), C(port), C(http), C(database), C(resources), C(logs) and C(files) is null when it could
      not be observed; C(errors) then has the reason.
  returned: always
  type: dict
  sample:
    schema: 1
    host: app1
    taken_at: '2025-11-03T12:00:00.000Z'
    duration_ms: 112.5
    port: {port: 3001, open: true, pid: 4242, command: node index.js, listeners: []}
    errors: []
verdict:
  description: How the snapshot compares with what is expected, and which procedure it calls for.
  returned: always
  type: dict
  sample:
    overall: healthy
    procedure: none
    reasons: []
    checks: []
memory:
  description: What the next run of the same procedure needs as O(memory), once this run is concluded.
  returned: always
  type: dict
  sample:
    taken_at: '2025-11-03T12:00:00.000Z'
    logs: {}
    restarts: {}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.health import arguments
from ansible.module_utils.orquestrador.health import evaluate as judge
from ansible.module_utils.orquestrador.health import probe as observe

ARGUMENT_SPEC = arguments.ARGUMENT_SPEC


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    problem = arguments.unusable(module.params)
    if problem is not None:
        module.fail_json(msg=problem)
    observed = observe.observe(module.params, arguments.cpu_percent(module.params))
    module.exit_json(changed=False, **judge.judge(module.params, observed))


if __name__ == "__main__":
    main()
