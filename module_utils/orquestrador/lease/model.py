"""What a lease is, what a lease file says, and who may have the lease: pure but for the clock.

Only the host's clocks count, never a controller's. Whether a lease has expired is measured on ``CLOCK_BOOTTIME``, which
nobody can set, together with the boot id: a wall clock that jumps neither extends a lease nor ends it early, and a
lease from before a restart is over. The wall clock is for people.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any, Callable, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.jsonable import clean, iso, number
from ..core.messages import msg
from ..core.types import Message
from ..procedures import PREEMPTIBLE, PREEMPTING

SCHEMA = 1
MAX_TTL_S = 86400.0  # longer than any procedure's budget: a lease for longer is a mistake, or damage
MAX_BYTES = 64 * 1024
MAX_TEXT = 200
BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"

# States of a lease file.
FREE, HELD, EXPIRED, RESTARTED, DAMAGED = "free", "held", "expired", "restarted", "damaged"


class LeaseError(OperatorError):
    """The lease could not be had; ``message`` says why, ``holder`` is who has it, where somebody has."""

    def __init__(self, message: Message, holder: Optional[dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.holder = holder


class LostError(LeaseError):
    """The run does not have the lease any more."""


class Moment(NamedTuple):
    """One moment on the host: ``wall`` (seconds since 1970), ``boot_s`` (seconds since the start), ``boot_id``."""

    wall: float
    boot_s: float
    boot_id: str


class Request(NamedTuple):
    """Who wants the lease, for which procedure, for how many seconds."""

    run_id: str
    owner: str
    procedure: str
    ttl_s: float
    preempt: bool = False


class Seen(NamedTuple):
    """What a lease file says at one moment; ``lease`` is ``None`` when it says nothing usable."""

    state: str
    lease: Optional[dict[str, Any]] = None
    remaining_s: float = 0.0
    expires_at: Optional[str] = None
    reason: str = ""  # why it counts as damaged

    def belongs_to(self, run_id: str) -> bool:
        """Whether the lease, expired or not, is this run's."""
        return self.lease is not None and self.lease["run_id"] == run_id


Clock = Callable[[], Moment]


def moment() -> Moment:
    """The present moment. Without a boot id (no ``/proc``) the time since the start alone tells a restart."""
    boot_id = ""
    with contextlib.suppress(OSError), open(BOOT_ID_FILE, encoding="ascii", errors="replace") as stream:
        boot_id = stream.read(100).strip()
    return Moment(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), boot_id)


def request(**wanted: Any) -> Request:
    """A checked request.

    Raises:
        LeaseError: a name is empty, or ``ttl_s`` is not within 1 s and 24 h.
    """
    names = {name: one_line(wanted.get(name)) for name in ("run_id", "owner", "procedure")}
    for name, value in names.items():
        if not value:
            raise LeaseError(msg("a lease needs a {name}: name one", name=name))
    ttl = _seconds(wanted.get("ttl_s"))
    if ttl is None or not 1 <= ttl <= MAX_TTL_S:
        raise LeaseError(
            msg(
                "ttl_s is {value}: a lease is taken for between 1 and {limit} seconds",
                value=one_line(wanted.get("ttl_s")),
                limit=int(MAX_TTL_S),
            )
        )
    return Request(names["run_id"], names["owner"], names["procedure"], ttl, bool(wanted.get("preempt")))


def judge(content: Optional[bytes], now: Moment) -> Seen:
    """What ``content`` of a lease file (``None``: there is none) says at ``now``. Never raises."""
    if content is None:
        return Seen(FREE)
    lease, reason = _usable(content)
    if lease is None:
        return Seen(DAMAGED, reason=reason)
    elapsed = now.boot_s - lease["boot_s"]
    if lease["boot_id"] != now.boot_id or elapsed < 0:
        return Seen(RESTARTED, lease)
    remaining = lease["ttl_s"] - elapsed
    expires_at = iso(now.wall + remaining)
    if remaining <= 0:
        return Seen(EXPIRED, lease, 0.0, expires_at)
    return Seen(HELD, lease, remaining, expires_at)


def refusal(seen: Seen, wanted: Request) -> Optional[LeaseError]:
    """Why ``wanted`` can't have the lease now; ``None`` when it can."""
    lease = seen.lease
    if seen.state != HELD or lease is None or seen.belongs_to(wanted.run_id):
        return None
    allowed = wanted.procedure in PREEMPTING and lease["procedure"] in PREEMPTIBLE
    if wanted.preempt and allowed:
        return None
    holder = who(seen)
    if wanted.preempt:
        message = msg(
            "the lease of this host is held by run {run_id} ({procedure}, {owner}) since {since_at}, until {expires_at}"
            " and longer while that run is at work, and only an emergency may pre-empt it, and only a routine's: wait"
            " for that run to end",
            **holder,
        )
    elif allowed:
        message = msg(
            "the lease of this host is held by run {run_id} ({procedure}, {owner}) since {since_at}, until {expires_at}"
            " and longer while that run is at work: wait for that run to end, or pre-empt it with -e"
            " app_lease_preempt=true",
            **holder,
        )
    else:
        message = msg(
            "the lease of this host is held by run {run_id} ({procedure}, {owner}) since {since_at}, until {expires_at}"
            " and longer while that run is at work: wait for that run to end, then start this one again",
            **holder,
        )
    return LeaseError(message, public(seen))


def remark(seen: Seen, wanted: Request, path: str) -> Optional[Message]:
    """What there is to say when ``wanted`` takes the lease over what was ``seen``; ``None`` for nothing unusual."""
    if seen.state == DAMAGED:
        return msg(
            "The lease file {path} was damaged ({reason}): it counts as expired and is replaced",
            path=path,
            reason=seen.reason,
        )
    if seen.lease is None or seen.belongs_to(wanted.run_id):
        return None
    if seen.state == RESTARTED:
        return msg(
            "Run {run_id} ({procedure}, {owner}) took the lease at {since_at} and the host was restarted since:"
            " it is taken over",
            **who(seen, expires=False),
        )
    if seen.state == EXPIRED:
        return msg(
            "The lease of run {run_id} ({procedure}, {owner}) expired at {expires_at} without being released:"
            " it is taken over; look at what that run left behind",
            **who(seen, since=False),
        )
    return msg(
        "The lease of run {run_id} ({procedure}, {owner}), held since {since_at}, is pre-empted by an emergency:"
        " start that procedure again afterwards",
        **who(seen, expires=False),
    )


def public(seen: Seen) -> Optional[dict[str, Any]]:
    """What others may know of a lease: ``{run_id, owner, procedure, since, expires_at, ttl_s, took_over}``.

    ``took_over`` is ``{state, run_id, owner, procedure}`` of the lease before, ``None`` when the host was free.
    """
    if seen.lease is None:
        return None
    shown = {name: seen.lease[name] for name in ("run_id", "owner", "procedure", "since", "ttl_s", "took_over")}
    return {**shown, "expires_at": seen.expires_at}


def taken(seen: Seen, wanted: Request, now: Moment) -> dict[str, Any]:
    """The lease as ``wanted`` holds it from ``now`` on; a run that has it already keeps its beginning."""
    own = seen.lease if seen.belongs_to(wanted.run_id) else None
    if own is not None:
        since, took_over = own["since"], own["took_over"]
    else:
        since, took_over = iso(now.wall), None
        if seen.state != FREE:
            before = seen.lease or {}
            state = "preempted" if seen.state == HELD else seen.state
            took_over = {"state": state, **{name: before.get(name) for name in ("run_id", "owner", "procedure")}}
    return {
        "schema": SCHEMA,
        "run_id": wanted.run_id,
        "owner": wanted.owner,
        "procedure": wanted.procedure,
        "ttl_s": wanted.ttl_s,
        "since": since,
        "boot_id": now.boot_id,
        "boot_s": now.boot_s,
        "took_over": took_over,
    }


def _usable(content: bytes) -> tuple[Optional[dict[str, Any]], str]:
    """A lease with every field of its type, or why it is none."""
    found: Any = None
    if content.strip() and len(content) <= MAX_BYTES:
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(content.decode("utf-8"))
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        return None, "not what was written to it" if content.strip() else "empty"
    lease: dict[str, Any] = {}
    for name in ("run_id", "owner", "procedure", "since", "boot_id"):
        value = found.get(name)
        if not isinstance(value, str) or (not value and name != "boot_id"):
            return None, f"no {name}"
        lease[name] = one_line(value)
    for name in ("ttl_s", "boot_s"):
        value = _seconds(found.get(name))
        if value is None or value < 0 or (name == "ttl_s" and value > MAX_TTL_S):
            return None, f"no {name}"
        lease[name] = value
    before = found.get("took_over")
    lease["took_over"] = (
        {name: one_line(before.get(name)) or None for name in ("state", "run_id", "owner", "procedure")}
        if isinstance(before, dict)
        else None
    )
    return lease, ""


def given_back(seen: Seen, run_id: str) -> dict[str, Any]:
    """What giving the lease of ``run_id`` back does to what was ``seen``."""
    wanted = one_line(run_id)
    own = seen.belongs_to(wanted)
    holder = public(seen) if seen.state == HELD and not own else None
    note = lost(seen, wanted) if holder else None
    return {"changed": own, "note": note, "holder": holder, "diff": diff(seen, Seen(FREE) if own else seen)}


def diff(before: Seen, after: Seen) -> dict[str, str]:
    """Who has the lease, before and after."""
    lines = []
    for seen in (before, after):
        lease = seen.lease
        lines.append(f"{lease['run_id']} ({lease['procedure']}, {lease['owner']})\n" if lease else "nobody\n")
    return {"before": lines[0], "after": lines[1]}


def who(seen: Seen, *, since: bool = True, expires: bool = True) -> dict[str, Any]:
    """The arguments of a message that names the lease."""
    lease = seen.lease or {}
    args = {name: lease.get(name) for name in ("run_id", "procedure", "owner")}
    if since:
        args["since_at"] = lease.get("since")
    if expires:
        args["expires_at"] = seen.expires_at
    return args


def lost(seen: Seen, run_id: str) -> Message:
    """That ``run_id`` has the lease no more, and what to do about it."""
    if seen.state == HELD and seen.lease is not None:
        return msg(
            "Run {own_run_id} has lost the lease of this host to run {run_id} ({procedure}, {owner}) since {since_at}:"
            " look at what both of them changed",
            own_run_id=run_id,
            **who(seen, expires=False),
        )
    return msg(
        "Run {own_run_id} does not have the lease of this host any more: look at what it changed, then start it again",
        own_run_id=run_id,
    )


def one_line(value: Any) -> str:
    """One bounded line."""
    return "" if value is None else str(clean(" ".join(str(value).split())))[:MAX_TEXT]


def _seconds(value: Any) -> Optional[float]:
    return None if isinstance(value, str) else number(value)
