"""Observe the application for minutes after it was restarted: samples, and the trend that they add up to."""

from __future__ import annotations

import time
from typing import Any, Optional

from ...app import health_endpoint
from ...core.messages import msg
from ...core.types import Message
from ...health.expectations import limits_of
from ...system import resources
from ...system.procfs import read_rss
from .. import trend
from ..context import Scene

INTERVAL_S = 10.0
# A short observation takes its samples more often: a trend needs some.
LEAST_SAMPLES = 8
# A process that has just started takes on what it needs: that is no growth yet.
WARM_UP_SHARE = 0.15
REQUESTS = 3
REQUEST_TIMEOUT_S = 3.0
MIB = 1024 * 1024


def observe(scene: Scene, seconds: float) -> dict[str, Any]:
    """Sample for ``seconds``; what :func:`.trend.judge` says, with ``trend``: a row for each sample."""
    limits = limits_of(scene.params["expectations"])
    interval = max(min(INTERVAL_S, seconds / LEAST_SAMPLES), 0.5)
    began = time.monotonic()
    end = began + seconds
    look = _Look(scene)
    time.sleep(min(seconds * WARM_UP_SHARE, INTERVAL_S))
    look.sample(began)  # the first has nothing to compare processor time with
    samples: list[trend.Sample] = []
    while time.monotonic() + interval <= end:
        time.sleep(interval)
        samples.append(look.sample(began))
    wanted = trend.Limits(
        float(limits["latency_alert_ms"]), float(limits["cpu_percent"]), float(limits["memory_attention_mb"]) * MIB
    )
    table = [
        {
            "after_s": round(sample.at, 1),
            "ok": sample.ok,
            "latency_ms": sample.latency_ms,
            "memory_bytes": sample.memory_bytes,
            "cpu_percent": sample.cpu_percent,
            "bad": trend.bad(sample, wanted),
        }
        for sample in samples
    ]
    return {"seconds": round(time.monotonic() - began, 1), **trend.judge(samples, wanted), "trend": table}


def told(seen: dict[str, Any], rate_before: Optional[float]) -> Message:
    """The trend in a sentence. ``rate_before`` is how memory grew before the restart, bytes a minute."""
    args: dict[str, Any] = {"seconds_s": seen["seconds"], "samples": seen["samples"], "bad": seen["bad"]}
    if seen["good"]:
        return msg(
            "Good for {seconds_s}: {bad} of {samples} samples bad, latency {latency_ms}, memory {memory_bytes}",
            latency_ms=seen["latency_median_ms"],
            memory_bytes=_last_memory(seen),
            **args,
        )
    if seen["why"] == "few":
        return msg("Observed for {seconds_s} only, {samples} samples: too few to speak of a trend", **args)
    if seen["why"] == "unstable":
        return msg("The application was started again by itself within {seconds_s}: it does not stay up", **args)
    if seen["why"] == "leak":
        growth = int(seen["memory"]["growth_per_min_bytes"])
        args.update(growth_bytes=growth, limit_s=seen["memory"]["limit_in_s"])
        if rate_before and 0.5 <= growth / rate_before <= 2:
            return msg(
                "Memory grows again, and as quickly as before: {growth_bytes} a minute, at its limit in {limit_s}: a"
                " leak that restarts do not mend",
                **args,
            )
        return msg("Memory grows by {growth_bytes} a minute, and is at its limit in {limit_s}: a leak", **args)
    return msg("Still degraded after {seconds_s}: {bad} of {samples} samples bad", **args)


def _last_memory(seen: dict[str, Any]) -> Any:
    known = [row["memory_bytes"] for row in seen["trend"] if row["memory_bytes"] is not None]
    return known[-1] if known else None


class _Look:
    """Takes samples; processor time is counted from one to the next, so that nothing between them is missed."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._cpu: dict[int, float] = {}
        self._at = time.monotonic()
        self._pids: Optional[set[int]] = None

    def sample(self, began: float) -> trend.Sample:
        scene = self._scene
        limits = limits_of(scene.params["expectations"])
        app = scene.app.state()["app"]
        pids = set(app["pids"]) if app else set()
        http, findings = health_endpoint.collect(
            scene.params["app_health_url"],
            requests=REQUESTS,
            timeout_s=REQUESTS * REQUEST_TIMEOUT_S,
            request_timeout_s=REQUEST_TIMEOUT_S,
        )
        body = http["body"] or {}
        good = (str(body.get("status")), str(body.get("database"))) == (
            str(limits["status_expected"]),
            str(limits["database_expected"]),
        )
        now, cpu = time.monotonic(), {pid: used for pid in pids if (used := resources.process_cpu_s(pid)) is not None}
        percent = resources.app_percent(self._cpu, cpu, now - self._at)
        weights = [weight for pid in pids if (weight := read_rss(pid)) is not None]
        started = len(pids - self._pids) if self._pids is not None else 0
        self._cpu, self._at, self._pids = cpu, now, pids
        return trend.Sample(
            at=round(now - began, 2),
            ok=not findings and http["status"] == 200 and good,
            latency_ms=http["latency_median_ms"],
            memory_bytes=float(max(weights)) if weights else None,
            cpu_percent=percent,
            started=started,
        )
