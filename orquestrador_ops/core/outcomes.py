"""How things end: every word that results, records and reports have for it, and which of them what can have.

Strings, as JSON and the history hold them. Hosts know those that they say (``orquestrador.core.types``).
"""

from __future__ import annotations

from orquestrador.core import types

OK, WARN, UNKNOWN, CRITICAL = types.OK, types.WARN, types.UNKNOWN, types.CRITICAL
HEALTHY, DEGRADED = types.HEALTHY, types.DEGRADED
CHANGED, SKIPPED, FAILED = types.CHANGED, types.SKIPPED, types.FAILED
RECOVERED, REFUSED = types.RECOVERED, types.REFUSED
MET, NOT_MET = "met", "not_met"
UNREACHABLE = "unreachable"
ERROR = "error"  # it could not run at all
TIMEOUT, INTERRUPTED = "timeout", "interrupted"  # the command ended it: at its budget, or asked to
NOTHING = "nothing"  # there was nothing to do, or nothing could be begun
OTHER, HELD, BREAKER = "other", "held", "breaker"  # another procedure's case, maintenance, an open circuit breaker
TOLD, SETTLED = "told", "settled"  # nothing to recover: people were told, an incident was looked at

OF_CHECK = (OK, WARN, UNKNOWN, CRITICAL)
OF_VERDICT = (HEALTHY, DEGRADED, UNKNOWN, CRITICAL)
OF_STEP = (OK, CHANGED, SKIPPED, WARN, UNKNOWN, FAILED)  # from best to worst
# Of a procedure on its host: nothing to do; proven; not proven; another's lease or another procedure's case.
OF_EMERGENCY = (HEALTHY, RECOVERED, FAILED, REFUSED)
OF_RECOVERY = (RECOVERED, FAILED, NOTHING)  # as the circuit breaker counts it
OF_PROBE = (UNREACHABLE, ERROR)  # of one that saw nothing
OF_CONCLUSION = (MET, NOT_MET, *OF_PROBE)
OF_RUN = (*OF_CONCLUSION, TIMEOUT, INTERRUPTED)
# Of a host that a cycle of the watch did something about.
OF_WATCHED = (*OF_RECOVERY, REFUSED, UNREACHABLE, OTHER, HELD, BREAKER, TOLD, SETTLED)
