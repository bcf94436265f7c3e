#!/usr/bin/python
"""Evaluate the service levels of one host: documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sla_evaluate
short_description: Evaluate the five service levels of a host for a period
description:
  - Reads the probes of a host from the history on the controller and returns what was promised, what was measured, how
    much of it is known, and what is left of the error budget. The definitions, with formulas and units, are in
    C(docs/sla.md).
  - Runs on the controller only, by its action plugin; no host is contacted, so that a host that can't be reached is
    evaluated as well.
  - Never fails because of what it finds. It fails when its arguments can't be used or the history can't be read.
options:
  host:
    description: The host whose probes are evaluated; by default the one that the task runs for.
    type: str
  period:
    description:
      - V(day), V(week), V(month), V(quarter) or V(year), the current one of the calendar in C(ops_timezone); the same
        with V(last-) before it; V(24h), V(7d), V(30d), V(90d) or V(365d) up to now; or a named one such as
        V(2026-11-22), V(2026-W47), V(2026-11), V(2026-Q4) or V(2026).
      - By default V(month), unless O(from) is given.
    type: str
  from:
    description: Begin of the period, ISO 8601 or seconds since 1970; without a zone in C(ops_timezone).
    type: raw
  to:
    description: End of the period; by default now.
    type: raw
  objectives:
    description:
      - Objectives by the names of the variables of role C(sla) without their prefix C(sla_), C(uptime) for instance.
        What is not given is that variable's, else the operational playbook's.
    type: dict
  samples:
    description: Probes that are evaluated instead of the history's.
    type: list
    elements: dict
    suboptions:
      at:
        description: When it was, ISO 8601 or seconds since 1970.
        type: raw
        required: true
      ok:
        description: Whether the application answered as it should.
        type: bool
        required: true
      latency_ms:
        description: How long the answer took.
        type: float
  report:
    description:
      - Also write the report of the period on the controller, unless in check mode or of O(samples). The report of the
        day, month and so on before is written once more when it was written before that was over.
    type: bool
    default: false
  report_every_s:
    description: A report that is younger, in seconds, is left as it is; 0 writes it anew each time.
    type: float
    default: 0
attributes:
  check_mode:
    description: Evaluates in the same way and writes nothing.
  platform:
    description: The controller.
extends_documentation_fragment: [orquestrador]
"""

EXAMPLES = r"""
- name: Evaluate the month so far
  sla_evaluate:
    period: month
  register: levels

- name: Evaluate a window of time against stricter objectives
  sla_evaluate:
    host: app1
    from: '2026-11-01T00:00:00-03:00'
    to: '2026-11-15T00:00:00-03:00'
    objectives:
      uptime: 0.9995
      response_ms: 150

- name: Evaluate probes of another system
  sla_evaluate:
    host: app1
    period: 2026-11-22
    samples:
      - at: '2026-11-22T12:00:00Z'
        ok: true
        latency_ms: 12.5
      - at: '2026-11-22T12:01:00Z'
        ok: false
"""

RETURN = r"""
document:
  description:
    - What was found. C(slas) holds C(uptime), C(response), C(availability), C(error_rate) and C(recovery), in this
      order; C(incidents), C(days), C(hours), C(seconds), C(metrics) and C(maintenance) are their inputs.
      Times of the document are ISO 8601, ratios 0 to 1, and texts are messages, that is an English text with its
      arguments.
  returned: success
  type: dict
  sample:
    schema: 1
    host: app1
    period: {name: month, timezone: America/Sao_Paulo}
    slas:
      - {id: uptime, objective: 0.999, value: 0.99991, met: true, verdict: met, remaining_minutes: 39.4}
    incidents: []
asked:
  description: The requested period; the document has the name of that very one, 2026-11 for instance.
  returned: success
  type: str
  sample: month
met:
  description: Whether every service level is met; null when none is missed and not all are proven.
  returned: success
  type: bool
  sample: true
verdict:
  description: The worst of the verdicts, C(met), C(missed), C(unproven) or C(no_data).
  returned: success
  type: str
  sample: met
burn:
  description: How fast the error budget burns at this moment, for each pair of windows.
  returned: success
  type: list
  sample:
    - {name: page-fast, severity: page, long_burn: 0.0, short_burn: 0.0, factor: 14.4, firing: false}
lines:
  description: The same in words, a line for each service level, in the language of the operator.
  returned: success
  type: list
  sample: ['Service levels of app1 (month)']
missed:
  description: The service levels that are missed, in one line; empty when none is.
  returned: success
  type: str
  sample: ''
reports:
  description: Files of the report by format; empty where none was written.
  returned: success
  type: dict
  sample: {html: /srv/ops/var/reports/app1/sla-2026-11.html}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador import sla as sla_arguments

ARGUMENT_SPEC = sla_arguments.ARGUMENT_SPEC


def main() -> None:
    """Say why there is nothing to run here: the history lies on the controller."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    module.fail_json(
        msg="sla_evaluate: its action plugin was not found: run it from the project's directory, with its ansible.cfg"
    )


if __name__ == "__main__":
    main()
