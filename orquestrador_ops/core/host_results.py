"""What comes back from a host, read once where it arrives: whatever was sent, every part has its type from there on.

Snapshots and verdicts that are passed on, into records and reports, stay as they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orquestrador.core.types import UNKNOWN

from .coerce import dig, mapping, mappings
from .outcomes import REFUSED, UNREACHABLE

NONE = "none"  # of a verdict or a diagnosis that calls for no procedure


@dataclass(frozen=True)
class Verdict:
    """What a probe's checks come to."""

    overall: str = UNKNOWN
    procedure: str = NONE
    reasons: list[Any] = field(default_factory=list)
    checks: Mapping[str, str] = field(default_factory=dict)  # status by id

    @classmethod
    def read(cls, value: object) -> Verdict:
        """Take what there is; a verdict about which nothing is known where there is none."""
        found = mapping(value)
        return cls(
            overall=str(found.get("overall") or UNKNOWN),
            procedure=str(found.get("procedure") or NONE),
            reasons=messages(found.get("reasons")),
            checks={str(check.get("id")): str(check.get("status")) for check in mappings(found.get("checks"))},
        )

    def ids(self, status: str) -> set[str]:
        """The checks that have this status."""
        return {name for name, one in self.checks.items() if one == status}


@dataclass(frozen=True)
class ProbeResult:
    """A look at a host; of one that could not be observed ``outcome`` and ``failure`` say why."""

    snapshot: Mapping[str, Any] | None = None
    verdict: Mapping[str, Any] | None = None
    judged: Verdict = field(default_factory=Verdict)  # the verdict, read
    memory: Mapping[str, Any] | None = None
    outcome: str | None = None
    failure: Any = None
    failed: bool = False
    said: str = ""  # Ansible's word for what failed
    started_at: str | None = None
    run_id: str | None = None

    @classmethod
    def read(cls, value: object) -> ProbeResult:
        """Take what a probe's task registered."""
        found = mapping(value)
        return cls(
            snapshot=_known(found.get("snapshot")),
            verdict=_known(found.get("verdict")),
            judged=Verdict.read(found.get("verdict")),
            memory=_known(found.get("memory")),
            outcome=UNREACHABLE if found.get("unreachable") else _text(found.get("outcome")),
            failure=found.get("failure"),
            failed=bool(found.get("failed")),
            said=str(found.get("msg") or ""),
            started_at=_text(found.get("started_at")),
            run_id=_text(found.get("run_id")),
        )


@dataclass(frozen=True)
class Diagnosis:
    """What a procedure found behind an alert before it did anything."""

    alert: str | None = None
    scenario: str = ""
    severity: str = NONE
    level: str | None = None
    reasons: list[Any] = field(default_factory=list)
    proposals: list[Any] = field(default_factory=list)

    @classmethod
    def read(cls, value: object) -> Diagnosis:
        """Take what there is."""
        found = mapping(value)
        return cls(
            alert=_text(found.get("alert")),
            scenario=str(found.get("scenario") or ""),
            severity=str(found.get("severity") or NONE),
            level=_text(found.get("level")),
            reasons=messages(found.get("reasons")),
            proposals=messages(found.get("proposals")),
        )


@dataclass(frozen=True)
class RecoveryResult:
    """What a recovery did on its host."""

    ran: bool = False
    changed: bool | None = None  # None: it does not say
    outcome: str | None = None
    unreachable: bool = False
    failed: bool = False
    said: str = ""  # Ansible's word for what failed
    failures: list[Any] = field(default_factory=list)
    over_budget: bool = False
    diagnosis: Diagnosis = field(default_factory=Diagnosis)
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, value: object) -> RecoveryResult:
        """Take what a procedure's task registered; nothing where it was left out."""
        found = mapping(value)
        return cls(
            ran=bool(found) and not found.get("skipped"),
            changed=bool(found["changed"]) if "changed" in found else None,
            outcome=_text(found.get("outcome")),
            unreachable=bool(found.get("unreachable")),
            failed=bool(found.get("failed")),
            said=str(found.get("msg") or ""),
            failures=messages(found.get("failures")),
            over_budget=bool(found.get("over_budget")),
            diagnosis=Diagnosis.read(found.get("diagnosis")),
            steps={str(name): mapping(step) for name, step in mapping(found.get("steps")).items()},
        )

    @property
    def holder(self) -> Mapping[str, Any] | None:
        """Who has the lease that it was refused; ``None`` for one that was another procedure's case."""
        holder = mapping(dig(self.steps, "lease", "evidence", "holder"))
        return holder if holder and self.outcome == REFUSED else None


def messages(value: object) -> list[Any]:
    """The messages of a list, or the only one."""
    return [one for one in (value if isinstance(value, list) else [value]) if one]


def _known(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


def _text(value: object) -> str | None:
    return str(value) if value else None
