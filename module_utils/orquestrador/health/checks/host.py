"""What the application takes of the host, and what the host has left."""

from __future__ import annotations

from ...core.messages import msg
from ...core.types import CRITICAL, OK, WARN
from ..expectations import number
from .registry import Result, above, check, unseen
from .view import View, as_dict, as_list, shown

MIB = 1024 * 1024


@check(
    "memory.app",
    msg("Memory of the application"),
    "pontos-criticos",
    lambda limits: msg("below {normal_bytes}", normal_bytes=int(limits["memory_normal_mb"] * MIB)),
)
def app_memory(view: View) -> Result:
    normal, attention = view.limits["memory_normal_mb"] * MIB, view.limits["memory_attention_mb"] * MIB
    app = as_dict(view.app)
    heaviest = number(app.get("memory_max_bytes"))
    if heaviest is None:
        return unseen(view, "pm2")
    return Result(
        CRITICAL if heaviest > attention else WARN if heaviest >= normal else OK,
        msg("heaviest instance {heaviest_bytes}", heaviest_bytes=int(heaviest)),
        msg("Watch whether it grows: a leak needs the developers, a reload buys time"),
        {"sum_bytes": app.get("memory_bytes"), "instances": app.get("instances"), "attention_bytes": int(attention)},
        source="alerta-alto" if heaviest > attention else None,
    )


@check(
    "cpu.app",
    msg("CPU of the application"),
    "alerta-alto",
    lambda limits: msg("at most {limit_percent}", limit_percent=limits["cpu_percent"]),
)
def app_cpu(view: View) -> Result:
    cpu = as_dict(as_dict(view.resources).get("cpu"))
    measured, reported = number(cpu.get("app_percent")), number(as_dict(view.app).get("cpu_percent"))
    used = measured if measured is not None else reported
    if used is None:
        return unseen(view, "resources" if view.finding("resources") else "pm2")
    return Result(
        CRITICAL if used > view.limits["cpu_percent"] else OK,
        msg("{used_percent}", used_percent=used),
        msg("See which process and which queries are busy before restarting anything"),
        {
            "interval_s": cpu.get("interval_s"),
            "host_percent": cpu.get("percent"),
            "count": cpu.get("count"),
            "load": as_list(as_dict(view.resources).get("load"))[:3],
        },
    )


@check(
    "host.memory",
    msg("Memory of the host"),
    "rotina-diaria",
    lambda limits: msg("below {warn_percent}", warn_percent=limits["host_memory_warn_percent"]),
)
def memory(view: View) -> Result:
    seen = as_dict(as_dict(view.resources).get("memory"))
    used = number(seen.get("used_percent"))
    if used is None:
        return unseen(view, "resources")
    return Result(
        above(used, view.limits["host_memory_warn_percent"], view.limits["host_memory_critical_percent"]),
        msg("{used_percent} used", used_percent=used),
        msg("See which processes hold the memory, and whether the host swaps"),
        seen,
    )


@check(
    "host.disk",
    msg("Disk space and inodes of the host"),
    "rotina-diaria",
    lambda limits: msg("below {warn_percent}", warn_percent=limits["disk_warn_percent"]),
)
def disk(view: View) -> Result:
    disks = [d for d in as_list(as_dict(view.resources).get("disk")) if isinstance(d, dict)]
    seen: list[tuple[float, str, str]] = []
    blind = False
    for one in disks:
        used, inodes = number(one.get("used_percent")), number(one.get("inodes_used_percent"))
        blind = blind or used is None
        seen.extend(
            (value, kind, shown(one.get("path")))
            for value, kind in ((used, "space"), (inodes, "inodes"))
            if value is not None
        )
    if not seen:
        return unseen(view, "resources")
    used_percent, kind, path = max(seen, key=lambda item: item[0])
    status = above(used_percent, view.limits["disk_warn_percent"], view.limits["disk_critical_percent"])
    if blind and status != CRITICAL:
        return unseen(view, "resources")
    return Result(
        status,
        msg("{path}: {used_percent} of the space used", path=path, used_percent=used_percent)
        if kind == "space"
        else msg("{path}: {used_percent} of the inodes used", path=path, used_percent=used_percent),
        msg("See what grew: logs and backups first; rotate or move them, never delete the newest verified backup"),
        {"disk": disks[:16]},
    )
