"""What people are told of an incident: short, in their language, and what a host says only redacted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg
from orquestrador.core.redact import scrub_text

from ..core.i18n import Translator, epoch
from ..core.text import clean
from ..procedures.catalog import EMERGENCIES
from . import store as incidents

if TYPE_CHECKING:
    from .matrix import Level

MAX_LINES = 8
MAX_LINE = 300
ALERTS: Mapping[str, Any] = {
    **{name: one.alert for name, one in EMERGENCIES.items()},
    "capacity": msg("capacity exhausted"),
    "outside": msg("well inside, not reachable from outside"),
    "unknown": msg("its state can't be observed"),
    "sla:page-fast": msg("the error budget burns fast (one hour)"),
    "sla:page-slow": msg("the error budget burns fast (six hours)"),
    "sla:ticket-fast": msg("the error budget burns (one day)"),
    "sla:ticket-slow": msg("the error budget burns (three days)"),
}
SEVERITIES: Mapping[str, Any] = {
    "critical": msg("CRITICAL"),
    "high": msg("HIGH"),
    "medium": msg("MEDIUM"),
}


class Wording:
    """Title and body of a message; ``over``: it tells of the recovery."""

    def __init__(self, incident: Mapping[str, Any], level: Level, tr: Translator, *, over: bool = False) -> None:
        self.incident, self.level, self.tr, self.over = incident, level, tr, over
        self.data: Mapping[str, Any] = incident.get("data") or {}

    def title(self) -> str:
        """One line: how bad, where, what, which incident."""
        tr, incident = self.tr, self.incident
        alert = self.line(ALERTS.get(incident["alert"], incident["alert"]))
        severity = self.line(SEVERITIES.get(incident["severity"], incident["severity"]))
        host = clean(incident["host"], 255)
        if self.over:
            return tr.t(
                "[RECOVERED] {host}: {alert} (incident {number})", host=host, alert=alert, number=incident["id"]
            )
        return tr.t(
            "[{severity}] {host}: {alert} (incident {number}, level {level})",
            severity=severity,
            host=host,
            alert=alert,
            number=incident["id"],
            level=self.level.level,
        )

    def body(self) -> str:
        """Symptom, evidence, what was tried, what is proposed, and how to acknowledge."""
        tr, incident = self.tr, self.incident
        lines = [
            tr.t("Host: {host}", host=clean(incident["host"], 255)),
            tr.t("Detected: {opened_at} ({zone})", opened_at=incident["opened_at"], zone=tr.zone_name()),
        ]
        if self.over:
            ended = epoch(incident["closed_at"])
            lines.append(tr.t("Recovery proven: {closed_at}", closed_at=incident["closed_at"]))
            if ended is not None:
                lines.append(tr.t("It lasted {lasted_s}", lasted_s=incidents.lasted_s(incident, ended)))
        else:
            lines.append(tr.t("Level: {level} ({name})", level=self.level.level, name=self.line(self.level.title)))
        if self.data.get("scenario"):
            lines.append(tr.t("Scenario: {scenario}", scenario=clean(self.data["scenario"], 100)))
        lines += self.part(tr.t("Evidence"), self.data.get("reasons"))
        lines += self.part(tr.t("What was tried"), self.data.get("tried"), tr.t("nothing: the host was not touched"))
        if not self.over:
            lines += self.part(tr.t("What is proposed"), self.data.get("proposals"))
            lines += ["", tr.t("Acknowledge it: {command}", command=f"runbook ack {incident['id']}")]
            if self.level.respond_within_s and incident.get("next_at"):
                lines.append(tr.t("Otherwise it goes to the next level at {next_at}", next_at=incident["next_at"]))
        return "\n".join(lines) + "\n"

    def part(self, head: str, said: Any, otherwise: str = "") -> list[str]:
        """A heading with its points, shortened."""
        points = [self.line(one) for one in said] if isinstance(said, list) else []
        if not points and otherwise:
            points = [otherwise]
        if not points:
            return []
        more = [self.tr.t("{count} more", count=len(points) - MAX_LINES)] if len(points) > MAX_LINES else []
        return ["", f"{head}:", *[f"- {point}" for point in [*points[:MAX_LINES], *more]]]

    def line(self, message: Any) -> str:
        """A message in one redacted line."""
        return clean(scrub_text(self.tr.message(message)), MAX_LINE)
