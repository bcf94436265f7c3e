#!/usr/bin/python
"""Reload the application worker by worker: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pm2_reload
short_description: Reload the application worker by worker, proving each, with rollback
description:
  - In cluster mode each worker is reloaded by its id, and proven by a good health answer over a connection that its new
    process has accepted, before the next one is touched. A worker that dies or does not become ready in time ends the
    reload while its predecessor still serves; what the application ran from before the last build is put back, and
    every worker that had been reloaded already is reloaded again from that.
  - In fork mode a reload is a restart, which is reported, and its gap is measured.
  - The application is requested all the time meanwhile, over new connections; requests, failures and the longest
    time without an answer are returned.
  - Nothing is reloaded while the application is not healthy, because nothing could be proven.
  - Run it as the application's user, under the lease of the host.
options:
  url:
    description: Health endpoint of the application itself, without a proxy in between.
    type: str
    required: true
  dist:
    description: Directory that the application runs from; see M(app_build).
    type: path
    required: true
  state_dir:
    description: Directory of the way back; see M(app_build).
    type: path
    required: true
  ready_timeout:
    description:
      - Seconds that a new process has until it is ready and proven. In cluster mode, where there is a build to go back
        from, three quarters of PM2's own C(listen_timeout) are the most, because PM2 ends the predecessor after it.
    type: float
    default: 20
  stable:
    description: Seconds that a new process has to stay up after its proof.
    type: float
    default: 1
  prober_rate:
    description: Requests a second of the prober.
    type: float
    default: 20
  status_expected:
    description: C(status) in the health answer of a healthy application.
    type: str
    default: ok
  database_expected:
    description: C(database) in the health answer of a healthy application.
    type: str
    default: connected
attributes:
  check_mode:
    description: Can run in check mode; looks at PM2 and the application, and reloads nothing.
extends_documentation_fragment: [orquestrador, orquestrador.lease, orquestrador.pm2]
"""

EXAMPLES = r"""
- name: Reload the application
  pm2_reload:
    app_name: orquestrador-v3
    pm2_home: /home/flavio/.pm2
    url: http://127.0.0.1:3001/api/health
    dist: /home/flavio/webapp/dist
    state_dir: /home/flavio/.local/state/orquestrador-ops/build
  become: true
  become_user: flavio
"""

RETURN = r"""
evidence:
  description:
    - C(mode), C(uptime_before_s), C(workers) with old and new processes and times, C(requests), C(failures) and
      C(longest_gap_s) of the prober, C(planned_restarts) that PM2 counts for this by worker, and whether it was
      C(rolled_back).
  returned: always
  type: dict
note:
  description: The result in an untranslated message of C(text) and C(args).
  returned: success
  type: dict
failures:
  description: What went wrong, and what became of the way back, as untranslated messages.
  returned: failure
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.app.dist import DeployError, Dist
from ansible.module_utils.orquestrador.app.health_endpoint import usable
from ansible.module_utils.orquestrador.app.reload import Options, reload
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.lease.keeper import OPTION
from ansible.module_utils.orquestrador.lease.module import at_work

ARGUMENT_SPEC = {
    "app_name": {"type": "str", "required": True},
    "pm2_home": {"type": "path", "required": True},
    "pm2_command": {"type": "str", "default": "pm2"},
    "url": {"type": "str", "required": True},
    "dist": {"type": "path", "required": True},
    "state_dir": {"type": "path", "required": True},
    "ready_timeout": {"type": "float", "default": 20},
    "stable": {"type": "float", "default": 1},
    "prober_rate": {"type": "float", "default": 20},
    "status_expected": {"type": "str", "default": "ok"},
    "database_expected": {"type": "str", "default": "connected"},
    "lease": OPTION,
}
RANGES = {"ready_timeout": (1, 3600), "stable": (0, 600), "prober_rate": (0.1, 200)}


def main() -> None:
    """Reload, and fail in one line."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    url = usable(params["url"])
    if url is None:
        module.fail_json(msg=f"url is {params['url']!r}; give the http or https address of the health endpoint")
    with at_work(module, RANGES, umask=None):
        options = Options(
            home=params["pm2_home"].rstrip("/"),
            command=params["pm2_command"],
            app=params["app_name"],
            url=url,
            dist=Dist(params["dist"], params["state_dir"]),
            ready_timeout_s=params["ready_timeout"],
            stable_s=params["stable"],
            rate=params["prober_rate"],
            status_expected=params["status_expected"],
            database_expected=params["database_expected"],
        )
        try:
            result = reload(options, check_mode=module.check_mode)
        except DeployError as error:
            fail(module, *error.failures, evidence=error.evidence)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
