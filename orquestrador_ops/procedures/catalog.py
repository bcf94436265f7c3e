"""Every procedure by its name: routines, operations, emergencies, and what leaves records of its own under a title."""

from __future__ import annotations

from collections.abc import Mapping

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from . import emergencies, operations, routines
from .descriptor import Procedure

_WITHOUT_STEPS = (
    Procedure("quarterly", msg("Quarterly security audit")),
    Procedure("watch", msg("Watch"), playbook="playbooks/monitoring/watch.yml", budget_s=300),
    Procedure("sla", msg("Service levels"), playbook="playbooks/monitoring/sla.yml", budget_s=60),
)
# Whatever the modules define counts.
PROCEDURES: Mapping[str, Procedure] = {
    one.name: one
    for one in (
        *(found for part in (routines, operations, emergencies) for found in vars(part).values()),
        *_WITHOUT_STEPS,
    )
    if isinstance(one, Procedure)
}
# Those that a verdict or a diagnosis can call for.
EMERGENCIES: Mapping[str, Procedure] = {name: one for name, one in PROCEDURES.items() if one.emergency}


def title_of(procedure: str) -> Message | str:
    """What a procedure is called; the name itself of one that is not known, as an earlier version may have left it."""
    return PROCEDURES[procedure].title if procedure in PROCEDURES else procedure
