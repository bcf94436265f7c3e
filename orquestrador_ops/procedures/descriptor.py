"""What a procedure is: its steps, the checks that belong to them, what one step needs of another, and what it may take.

Pure data, from which everything else that has to know a procedure derives: see :mod:`.catalog`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orquestrador.core.messages import msg
from orquestrador.core.types import Message
from orquestrador.procedures import Emergency

from .step_rules import Facts, Judged, Snapshot


@dataclass(frozen=True)
class Step:
    """One step of a procedure.

    ``checks`` are judged from the verdict; ``overall`` asks that the whole verdict be healthy as well; a step with
    neither is an action, whose result an entry point of a role registers under the name ``result``. Where no action
    reported, ``judge`` tells from the snapshot and from facts: the inventory's ``variables`` and what the history
    knows. ``needs`` is the id of a step without which this one is not begun. One that is ``optional`` was not asked for
    when it has no result, and is then no step of the run. ``unwanted`` is what is said of an action that the operator
    had skipped; without it a skipped action was not done. ``looks``: whatever its status, nothing was done. ``source``
    is its chapter of the operational playbook where that is not the procedure's.
    """

    id: str
    title: Message
    checks: tuple[str, ...] = ()
    result: str = ""
    overall: bool = False
    judge: Callable[[Snapshot, Facts], Judged] | None = None
    variables: tuple[str, ...] = ()
    needs: str = ""
    optional: bool = False
    unwanted: Message | None = None
    looks: bool = False
    source: str = ""


@dataclass(frozen=True)
class Procedure:
    """A procedure of the operational playbook; ``source`` is its chapter there, by the slug.

    ``budget_s`` is the time it may take, in seconds; ``period_days`` how far back its report looks into the history.
    One that does not observe has nothing to say of the host. ``proof`` are the steps that decide whether the expected
    result was met, all where it is empty: of a ladder of actions, the one that helped is enough. ``emergency`` is what
    hosts know of an emergency procedure, ``alert`` what people are told it treats. One without steps leaves other
    records than runs, which are shown by its title.
    """

    name: str
    title: Message
    source: str = ""
    playbook: str = ""
    budget_s: int = 0
    steps: tuple[Step, ...] = ()
    period_days: int = 0
    observes: bool = True
    proof: tuple[str, ...] = ()
    emergency: Emergency | None = None
    alert: Message | None = None


RUNNING = ("port.open", "http.status", "app.status", "app.database")
LEASE = Step("lease", msg("Lease of the host"), result="app_lease_result", source="pontos-criticos")
