#!/usr/bin/python
"""Count requests and errors per hour: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: log_rates
short_description: Count requests and errors per hour in the logs of an application
description:
  - Counts the lines that O(pattern) finds a request in, and those whose status is 5xx. Error events are counted in
    the error logs as M(health_probe) counts them, one stack trace as one. A request that fails mostly leaves both a
    line and an event, so the errors of an hour are the more numerous of the two, not their sum.
  - With RV(ignore:memory) of the call before only what was written since is read, over rotation, truncation and lines
    that are written in pieces. Without it everything since O(since) is read, archives of M(log_archive) and C(.gz)
    beside the logs included; they are unpacked into a private temporary directory, which is removed.
  - An hour of which something is missing is not given, because a count that is too low looks like a good rate.
  - It counts in a process of its own that ends at its limit, whatever the pattern does.
options:
  pattern:
    description:
      - C(combined) (the access log of web servers and morgan's C(combined) and C(common)), C(morgan-tiny), C(json)
        (pino, bunyan, winston), or a regular expression of Python that is searched in each line.
      - Its group C(status) is the status of the answer. C(at) is the time of the request; without it that with which
        the line begins, else that of the line before. C(latency_ms) is how long the answer took.
    type: str
    required: true
  access_globs:
    description: Logs that hold requests, as glob patterns.
    type: list
    elements: str
    required: true
  error_globs:
    description: Error logs, as glob patterns. Without any only answers of 5xx are errors.
    type: list
    elements: str
    default: []
  archive_dir:
    description: Directory of the archives.
    type: path
    default: ""
  since:
    description: From when, seconds since 1970 or ISO 8601; the hour it is in is counted whole. Two days ago if empty.
    type: str
    default: ""
  until:
    description: Until when, as O(since). Now if empty.
    type: str
    default: ""
  memory:
    description: What the call before returned.
    type: dict
    default: {}
  max_bytes:
    description: Bytes that are read at the most, of the access logs and of the error logs.
    type: int
    default: 4294967296
  fast_ms:
    description: A latency below this many milliseconds counts as fast.
    type: float
    default: 200
  timeout:
    description: Seconds that it may take.
    type: float
    default: 120
attributes:
  check_mode:
    description: Can run in check mode; it changes nothing in either mode.
extends_documentation_fragment: [orquestrador]
"""

EXAMPLES = r"""
- name: Count requests and errors of the last two days
  log_rates:
    pattern: combined
    access_globs: [/home/flavio/webapp/logs/out*.log, /home/flavio/webapp/logs/.out*.log.*]
    error_globs: [/home/flavio/webapp/logs/error*.log, /home/flavio/webapp/logs/.error*.log.*]
    archive_dir: /home/flavio/webapp/logs/archive
  become: true
  become_user: flavio

- name: Find requests by an expression of one's own
  log_rates:
    pattern: '"(?:GET|POST|PUT|PATCH|DELETE) [^"]*" (?P<status>\d{3}) (?P<latency_ms>[\d.]+)ms'
    access_globs: [/var/log/app/requests.log]
"""

RETURN = r"""
rates:
  description:
    - Per hour C(start_at) (seconds since 1970), C(seconds), C(requests), C(errors), and what those come from,
      C(failed) (answers of 5xx) and C(error_events). C(timed) requests had a latency, C(fast) of them were fast.
  returned: success
  type: list
  elements: dict
memory:
  description: Read offsets for the next call; no text of a log.
  returned: success
  type: dict
source:
  description: What was counted as an error, C(access) (5xx only) or C(access+errors).
  returned: success
  type: str
  sample: access+errors
status:
  description: C(ok), C(unknown) when not everything could be read, or C(warn) when no line is a request.
  returned: success
  type: str
note:
  description: The counts in words, as untranslated messages of C(text) and C(args).
  returned: success
  type: list
  elements: dict
findings:
  description: What could not be read, and why.
  returned: success
  type: list
  elements: dict
evidence:
  description:
    - Sums over RV(rates), and of this call C(lines), C(unmatched) lines that are no request, requests that are
      C(undated), C(read_bytes), C(took_s) and C(source).
  returned: success
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.core.errors import OperatorError
from ansible.module_utils.orquestrador.core.messages import msg
from ansible.module_utils.orquestrador.core.module import fail, require_ranges
from ansible.module_utils.orquestrador.logs.rates import Options, count, moment

ARGUMENT_SPEC = {
    "pattern": {"type": "str", "required": True},
    "access_globs": {"type": "list", "elements": "str", "required": True},
    "error_globs": {"type": "list", "elements": "str", "default": []},
    "archive_dir": {"type": "path", "default": ""},
    "since": {"type": "str", "default": ""},
    "until": {"type": "str", "default": ""},
    "memory": {"type": "dict", "default": {}},
    "max_bytes": {"type": "int", "default": 4294967296},
    "fast_ms": {"type": "float", "default": 200},
    "timeout": {"type": "float", "default": 120},
}
RANGES = {"max_bytes": (1, 1 << 44), "fast_ms": (0.001, 1e9), "timeout": (1, 86400)}
DAYS_S = 2 * 86400


def main() -> None:
    """Count requests and errors and return the counts."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params, now, started = dict(module.params), time.time(), time.monotonic()
    require_ranges(module, RANGES)
    try:
        params["since"] = moment("since", params["since"], now - DAYS_S)
        params["until"] = moment("until", params["until"], now)
        result = count(Options(timeout_s=params.pop("timeout"), **params), now)
    except OperatorError as error:
        fail(module, *error.failures)
    evidence = {**result.pop("totals"), "source": result["source"], "took_s": round(time.monotonic() - started, 3)}
    complete = result.pop("complete")
    wrong = any(finding["code"] == "no_request" for finding in result["findings"])
    summary = msg(
        "{requests} requests, {errors} errors ({failed} answers of 5xx, {events} error events)",
        requests=evidence["requests"],
        errors=evidence["errors"],
        failed=evidence["failed"],
        events=evidence["error_events"],
    )
    if not result["rates"]:
        summary = msg("no hour could be counted")
    module.exit_json(
        changed=False,
        status="warn" if wrong else "ok" if complete else "unknown",
        note=[summary, *(finding["message"] for finding in result["findings"])],
        evidence=evidence,
        **result,
    )


if __name__ == "__main__":
    main()
