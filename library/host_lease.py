#!/usr/bin/python
"""Take or give back the lease of a host: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_lease
short_description: Acquire, renew or release the lease of a host
description:
  - Whatever changes a host takes its lease first, so that one procedure at a time does, from whichever controller.
  - The lease is a file on the host. Of several runs that want it at the same moment exactly one gets it; the others
    fail in one line that names the holder.
  - It always expires, by the host's own clock. One that has expired, one from before a restart of the host and one in
    a damaged file are taken over, with an RV(note).
  - Run it as the application's user, who owns the file.
options:
  state:
    description:
      - With V(held) the run has the lease afterwards. The run that has it already renews it.
      - With V(renewed) it is extended, and a run that does not have it fails.
      - With V(released) the run does not have it afterwards. Another run's lease is left alone.
    type: str
    choices: [held, renewed, released]
    default: held
  path:
    description: The lease file. Its directory is created when missing, mode 0700.
    type: path
    required: true
  run_id:
    description: The run that takes it or gives it back.
    type: str
    required: true
  owner:
    description: Who started the run, and on which controller. Required to take it.
    type: str
  procedure:
    description: The procedure that runs. Required to take it.
    type: str
  ttl_s:
    description: Seconds after which it expires when it is neither renewed nor given back, from 1 to 86400. Required to
      take or renew it.
    type: float
  preempt:
    description:
      - Take it although another run holds it. Only an emergency (V(triage), V(offline), V(performance), V(database),
        V(watch)) may, and only from a routine (V(daily), V(weekly), V(monthly), V(quarterly)).
      - It is recorded in the lease and in RV(note).
    type: bool
    default: false
attributes:
  check_mode:
    description: Acquires and releases nothing; RV(note) has the holder and what would happen.
  diff_mode:
    description: Shows who had the lease before and who has it after.
    support: full
extends_documentation_fragment: [orquestrador]
"""

EXAMPLES = r"""
- name: Take the lease of the host
  host_lease:
    path: /home/flavio/.local/state/orquestrador-ops/lease.json
    run_id: 20260105T120000Z-a1b2c3
    owner: ana@control-01
    procedure: monthly
    ttl_s: 240
  become: true
  become_user: flavio

- name: Give the lease of the host back
  host_lease:
    path: /home/flavio/.local/state/orquestrador-ops/lease.json
    state: released
    run_id: 20260105T120000Z-a1b2c3
  become: true
  become_user: flavio
"""

RETURN = r"""
changed:
  description: Whether the lease has another holder than before, or would have in check mode; not when it was renewed.
  returned: always
  type: bool
renewed:
  description: Whether the run had it already and it was extended.
  returned: when it was taken
  type: bool
lease:
  description: The lease as it is now.
  returned: when it was taken
  type: dict
  contains:
    run_id:
      description: The run that holds it.
      type: str
    owner:
      description: Who started that run, and on which controller.
      type: str
    procedure:
      description: The procedure that runs.
      type: str
    since:
      description: Since when, ISO 8601 in UTC.
      type: str
    expires_at:
      description: Until when at the latest, ISO 8601 in UTC.
      type: str
    ttl_s:
      description: Seconds for which it was taken.
      type: float
    took_over:
      description: The lease before it (C(state) expired, restarted, damaged or preempted, C(run_id), C(owner),
        C(procedure)); null when the host was free.
      type: dict
holder:
  description: The run that holds it instead, with the fields of RV(lease); null when none does.
  returned: when it was not taken
  type: dict
note:
  description: What the operator should know, as an untranslated message of C(text) and C(args); null when all is as
    usual.
  returned: success
  type: dict
failures:
  description: Why it could not be had, as untranslated messages of C(text) and C(args).
  returned: failure
  type: list
  elements: dict
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.lease import lease_file, model

NEEDED = ("owner", "procedure", "ttl_s")
ARGUMENT_SPEC = {
    **{name: {**option, "required": name not in NEEDED} for name, option in lease_file.OPTIONS.items()},
    "state": {"type": "str", "choices": ["held", "renewed", "released"], "default": "held"},
    "preempt": lease_file.OPTIONS["preempt"],
}


def apply_state(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Acquire, renew or release the lease and return the module's result. Raises ``LeaseError``."""
    path = params["path"]
    if params["state"] == "released":
        return (lease_file.predict_release if check_mode else lease_file.release)(path, run_id=params["run_id"])
    if params["state"] == "renewed":
        if check_mode:
            return {"changed": False, "renewed": False, "note": None}
        renewed = lease_file.renew(path, run_id=params["run_id"], ttl_s=params["ttl_s"])
        return {"changed": False, "renewed": True, "note": None, "lease": renewed}
    request = model.request(**{name: params[name] for name in lease_file.OPTIONS if name != "path"})
    return (lease_file.predict if check_mode else lease_file.acquire)(path, request)


def main() -> None:
    """Change the lease; fail in one line with its holder."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("state", "held", NEEDED), ("state", "renewed", ("ttl_s",))],
    )
    os.umask(0o077)
    try:
        result = apply_state(module.params, module.check_mode)
    except model.LeaseError as error:
        fail(module, error.message, changed=False, holder=error.holder)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
