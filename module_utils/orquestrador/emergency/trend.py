"""How figures go over time: their slope, how sure that is, and whether what was observed is good.

Pure. One bad sample is no degradation and one good one no recovery: a *trend* is judged, from samples taken over
minutes by an emergency, or over days by routines.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

MIB = 1024 * 1024
# With fewer points there is no line to speak of.
LEAST_POINTS = 3
# Closer together than clocks tell apart: such points are of one moment.
ONE_MOMENT_S = 1e-3
# A line that explains less than this share of what varies is no growth.
SURE = 0.7
# What comes in one jump to this share is something that was loaded, not something that leaks.
JUMP_SHARE = 0.8
# What a process takes on and gives back anyway: its heap breathes.
BREATH_BYTES = 24 * MIB
BREATH_SHARE = 0.08
# More than this share of bad samples is a degradation; a single one in five minutes is not.
BAD_SHARE = 0.2
# Memory that would reach its limit later than this is the daily routine's business.
HORIZON_S = 2 * 3600.0

Point = tuple[float, float]  # seconds, value


class Fit(NamedTuple):
    """A line through points, by least squares."""

    slope: float  # per second
    sure: float  # r², 0 to 1
    first: float  # the line's value at the first point
    last: float  # and at the last
    span_s: float


def fit(points: Sequence[Point]) -> Optional[Fit]:
    """The line through ``points``; ``None`` when they are too few, or all of one moment."""
    if len(points) < LEAST_POINTS:
        return None
    start = min(at for at, _ in points)
    times = [at - start for at, _ in points]
    values = [value for _, value in points]
    middle, level = statistics.fmean(times), statistics.fmean(values)
    span = max(times)
    if span < ONE_MOMENT_S:
        return None
    spread = sum((at - middle) ** 2 for at in times)
    slope = sum((at - start - middle) * (value - level) for at, value in points) / spread
    varies = sum((value - level) ** 2 for value in values)
    explained = slope**2 * spread
    sure = min(explained / varies, 1.0) if varies > 0 else 1.0
    return Fit(slope, sure, level - slope * middle, level + slope * (span - middle), span)


def growth(points: Sequence[Point]) -> dict[str, Any]:
    """Whether memory grows for good: ``{growing, growth_per_min_bytes, sure, grown_bytes, span_s, points}``.

    Growing is what a line explains well, what exceeds a heap's own breath, and what did not come all at once.
    """
    line = fit(points)
    if line is None:
        return {
            "growing": False,
            "growth_per_min_bytes": None,
            "sure": None,
            "grown_bytes": None,
            "span_s": 0.0,
            "points": len(points),
        }
    grown = line.last - line.first
    breath = max(BREATH_BYTES, BREATH_SHARE * max(line.first, 0.0))
    return {
        "growing": line.slope > 0 and line.sure >= SURE and grown >= breath and not _jumped(points),
        "growth_per_min_bytes": round(line.slope * 60),
        "sure": round(line.sure, 3),
        "grown_bytes": round(grown),
        "span_s": round(line.span_s, 1),
        "points": len(points),
    }


def _jumped(points: Sequence[Point]) -> bool:
    values = [value for _, value in sorted(points)]
    steps = [values[at + 1] - values[at] for at in range(len(values) - 1)]
    return max(steps) > JUMP_SHARE * (values[-1] - values[0])


class Limits(NamedTuple):
    """What is good."""

    latency_ms: float
    cpu_percent: float
    memory_bytes: float


class Sample(NamedTuple):
    """One look at the application. ``ok``: it answered as it should; ``None`` in a figure: it could not be had."""

    at: float
    ok: bool
    latency_ms: Optional[float]
    memory_bytes: Optional[float]
    cpu_percent: Optional[float]
    started: int = 0  # processes of it that were not there at the look before


def bad(sample: Sample, limits: Limits) -> bool:
    """Whether a sample alone would be called degraded."""
    return (
        not sample.ok
        or (sample.latency_ms is not None and sample.latency_ms > limits.latency_ms)
        or (sample.cpu_percent is not None and sample.cpu_percent > limits.cpu_percent)
        or (sample.memory_bytes is not None and sample.memory_bytes > limits.memory_bytes)
    )


def judge(samples: Sequence[Sample], limits: Limits) -> dict[str, Any]:
    """What the samples add up to: ``{good, why, samples, bad, bad_percent, started, memory, ...}`` and figures.

    ``why`` names what is wrong, one of ``few`` (too few samples to tell), ``unstable`` (it was started again),
    ``bad`` (too many bad samples) or ``leak`` (memory grows and would reach its limit within two hours); ``None`` when
    the trend is good.
    """
    counted = len(samples)
    worst = [bad(sample, limits) for sample in samples]
    share = sum(worst) / counted if counted else 1.0
    memory = growth([(s.at, s.memory_bytes) for s in samples if s.memory_bytes is not None])
    reach = _reach_s(samples, memory, limits.memory_bytes)
    told: dict[str, Any] = {
        "samples": counted,
        "bad": sum(worst),
        "bad_percent": round(100 * share, 1),
        **_figures("latency", "ms", [s.latency_ms for s in samples]),
        **_figures("cpu", "percent", [s.cpu_percent for s in samples]),
        "memory": {**memory, "limit_in_s": None if reach is None else round(reach)},
        "started": sum(sample.started for sample in samples),
    }
    if counted < LEAST_POINTS:
        why: Optional[str] = "few"
    elif told["started"]:
        why = "unstable"
    elif share > BAD_SHARE:
        why = "bad"
    elif reach is not None and reach <= HORIZON_S:
        why = "leak"
    else:
        why = None
    return {"good": why is None, "why": why, **told}


def _reach_s(samples: Sequence[Sample], memory: dict[str, Any], limit: float) -> Optional[float]:
    """Seconds until growing memory reaches its limit; ``None`` when it does not grow."""
    known = [sample.memory_bytes for sample in samples if sample.memory_bytes is not None]
    if not memory["growing"] or not known:
        return None
    return max(limit - known[-1], 0.0) / (float(memory["growth_per_min_bytes"]) / 60)


def _figures(name: str, unit: str, values: Sequence[Optional[float]]) -> dict[str, Optional[float]]:
    known = [value for value in values if value is not None]
    return {
        f"{name}_median_{unit}": round(statistics.median(known), 1) if known else None,
        f"{name}_max_{unit}": round(max(known), 1) if known else None,
    }
