"""One mutating procedure per managed host at a time, from whichever controller it is started.

The lease is a JSON file on the managed host itself, replaced atomically under ``flock`` of a sibling file, so that of
several processes exactly one takes it. It always expires: a controller, a connection or a module that is killed blocks
nobody for longer than the lease was taken for. Only the host's clocks count, never a controller's. Whether a lease has
expired is measured on ``CLOCK_BOOTTIME``, which nobody can set, together with the boot id: a wall clock that jumps
neither extends a lease nor ends it early, and a lease from before a restart is over. The wall clock is for people.

Everything here runs as the user who owns the file, and reads of what others wrote into it never raise.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple, Optional, TypeVar

from ..core.errors import OperatorError
from ..core.jsonable import clean, iso, number
from ..core.messages import msg
from ..core.types import Message
from ..system.whole_file import sync_directory, write_whole

SCHEMA = 1
MAX_TTL_S = 86400.0  # longer than any procedure's budget: a lease for longer is a mistake, or damage
MAX_BYTES = 64 * 1024
MAX_TEXT = 200
FILE_MODE, DIR_MODE = 0o600, 0o700
LOCK_WAIT_S = 5.0  # the lock is held for milliseconds; longer means a stopped process or a sick file system
LOCK_POLL_S = 0.01
BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"

# Who may pre-empt whom: an emergency a routine, never an operation such as a restore, never another emergency.
ROUTINES = frozenset({"daily", "weekly", "monthly", "quarterly"})
EMERGENCIES = frozenset({"triage", "offline", "performance", "database", "watch"})

# States of a lease file.
FREE, HELD, EXPIRED, RESTARTED, DAMAGED = "free", "held", "expired", "restarted", "damaged"

# Ansible's argument specification of whoever takes a lease for its own work.
OPTIONS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "run_id": {"type": "str", "required": True},
    "owner": {"type": "str", "required": True},
    "procedure": {"type": "str", "required": True},
    "ttl_s": {"type": "float", "required": True},
    "preempt": {"type": "bool", "default": False},
}

_Result = TypeVar("_Result", bound=dict[str, Any])


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
    names = {name: _text(wanted.get(name)) for name in ("run_id", "owner", "procedure")}
    for name, value in names.items():
        if not value:
            raise LeaseError(msg("a lease needs a {name}: name one", name=name))
    ttl = _seconds(wanted.get("ttl_s"))
    if ttl is None or not 1 <= ttl <= MAX_TTL_S:
        raise LeaseError(
            msg(
                "ttl_s is {value}: a lease is taken for between 1 and {limit} seconds",
                value=_text(wanted.get("ttl_s")),
                limit=int(MAX_TTL_S),
            )
        )
    return Request(names["run_id"], names["owner"], names["procedure"], ttl, bool(wanted.get("preempt")))


# Pure: what a file says, and what follows from it.


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
    if seen.state != HELD or lease is None or lease["run_id"] == wanted.run_id:
        return None
    allowed = wanted.procedure in EMERGENCIES and lease["procedure"] in ROUTINES
    if wanted.preempt and allowed:
        return None
    who = _who(seen)
    if wanted.preempt:
        message = msg(
            "the lease of this host is held by run {run_id} ({procedure}, {owner}) since {since_at}, until {expires_at}"
            " and longer while that run is at work, and only an emergency may pre-empt it, and only a routine's: wait"
            " for that run to end",
            **who,
        )
    elif allowed:
        message = msg(
            "the lease of this host is held by run {run_id} ({procedure}, {owner}) since {since_at}, until {expires_at}"
            " and longer while that run is at work: wait for that run to end, or pre-empt it with -e"
            " app_lease_preempt=true",
            **who,
        )
    else:
        message = msg(
            "the lease of this host is held by run {run_id} ({procedure}, {owner}) since {since_at}, until {expires_at}"
            " and longer while that run is at work: wait for that run to end, then start this one again",
            **who,
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
    if seen.lease is None or seen.lease["run_id"] == wanted.run_id:
        return None
    if seen.state == RESTARTED:
        return msg(
            "Run {run_id} ({procedure}, {owner}) took the lease at {since_at} and the host was restarted since:"
            " it is taken over",
            **_who(seen, expires=False),
        )
    if seen.state == EXPIRED:
        return msg(
            "The lease of run {run_id} ({procedure}, {owner}) expired at {expires_at} without being released:"
            " it is taken over; look at what that run left behind",
            **_who(seen, since=False),
        )
    return msg(
        "The lease of run {run_id} ({procedure}, {owner}), held since {since_at}, is pre-empted by an emergency:"
        " start that procedure again afterwards",
        **_who(seen, expires=False),
    )


def public(seen: Seen) -> Optional[dict[str, Any]]:
    """What others may know of a lease: ``{run_id, owner, procedure, since, expires_at, ttl_s, took_over}``.

    ``took_over`` is ``{state, run_id, owner, procedure}`` of the lease before, ``None`` when the host was free.
    """
    if seen.lease is None:
        return None
    return {
        "run_id": seen.lease["run_id"],
        "owner": seen.lease["owner"],
        "procedure": seen.lease["procedure"],
        "since": seen.lease["since"],
        "expires_at": seen.expires_at,
        "ttl_s": seen.lease["ttl_s"],
        "took_over": seen.lease["took_over"],
    }


def taken(seen: Seen, wanted: Request, now: Moment) -> dict[str, Any]:
    """The lease as ``wanted`` holds it from ``now`` on; a run that has it already keeps its beginning."""
    own = seen.lease if seen.lease is not None and seen.lease["run_id"] == wanted.run_id else None
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


# With the file.


def inspect(path: str, *, clock: Clock = moment) -> Seen:
    """What the lease file says; changes nothing, waits for nobody.

    Raises:
        LeaseError: the file is there and can't be read.
    """
    try:
        return _seen(path, clock())
    except OSError as error:
        raise LeaseError(_why(path, error)) from error


def acquire(path: str, wanted: Request, *, clock: Clock = moment, wait_s: float = LOCK_WAIT_S) -> dict[str, Any]:
    """Take the lease, or renew the one that the same run has.

    Returns ``{changed, renewed, note, lease, diff}``: ``changed`` when it was another's or nobody's before, ``note`` a
    message when it was taken over, ``lease`` as :func:`public` has it.

    Raises:
        LeaseError: another run holds it (``holder`` is set), or the file can't be written.
    """
    with _locked(path, wait_s):
        now = clock()
        seen = _seen(path, now)
        refused = refusal(seen, wanted)
        if refused is not None:
            raise refused
        own = seen.lease is not None and seen.lease["run_id"] == wanted.run_id
        lease = taken(seen, wanted, now)
        _replace(path, lease)
    held = Seen(HELD, lease, wanted.ttl_s, iso(now.wall + wanted.ttl_s))
    return {
        "changed": not own,
        "renewed": own,
        "note": remark(seen, wanted, path),
        "lease": public(held),
        "diff": _diff(seen, held),
    }


def no_room(error: LeaseError) -> bool:
    """Whether a lease could not be had because its disk is full."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def by_lock(path: str, wanted: Request, *, clock: Clock = moment, wait_s: float = LOCK_WAIT_S) -> Iterator[Message]:
    """Keep other runs off by the lock alone, where the lease itself can't be written: :class:`LeaseError` as ever.

    The lock is the kernel's: it needs no room, and it ends with this process. Yields what to say of it.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_locked(path, wait_s))
        except LeaseError as error:
            if not no_room(error):
                raise
            # Not even the lock's file could be made, so nobody else can have one.
            yield msg("The disk is too full for the lease and for its lock: nobody is kept off")
            return
        refused = refusal(_seen(path, clock()), wanted)
        if refused is not None:
            raise refused
        yield msg("The disk is too full to write the lease: others are kept off by its lock")


def renew(
    path: str, *, run_id: str, ttl_s: float, clock: Clock = moment, wait_s: float = LOCK_WAIT_S
) -> dict[str, Any]:
    """Extend the lease that ``run_id`` has by ``ttl_s`` from now; returns it as :func:`public` has it.

    Raises:
        LostError: the run has it no more, so it must change nothing further.
        LeaseError: the file can't be written.
    """
    with _locked(path, wait_s):
        now = clock()
        seen = _seen(path, now)
        if seen.lease is None or seen.lease["run_id"] != _text(run_id):
            raise LostError(_lost(seen, _text(run_id)), public(seen) if seen.state == HELD else None)
        kept = {name: seen.lease[name] for name in ("run_id", "owner", "procedure")}
        lease = taken(seen, request(**kept, ttl_s=ttl_s), now)
        _replace(path, lease)
    return public(Seen(HELD, lease, ttl_s, iso(now.wall + ttl_s))) or {}


def release(path: str, *, run_id: str, clock: Clock = moment, wait_s: float = LOCK_WAIT_S) -> dict[str, Any]:
    """Give the lease of ``run_id`` back; another's is left alone.

    Returns ``{changed, note, holder, diff}``: ``note`` is a message when another run holds it, ``holder`` that run.

    Raises:
        LeaseError: the file can't be removed; the lease will expire by itself.
    """
    if not os.path.lexists(path):
        return _given_back(Seen(FREE), run_id)
    with _locked(path, wait_s):
        seen = _seen(path, clock())
        given = _given_back(seen, run_id)
        if given["changed"]:
            os.unlink(path)
            sync_directory(os.path.dirname(path))
    return given


def predict(path: str, wanted: Request, *, clock: Clock = moment) -> dict[str, Any]:
    """What :func:`acquire` would do now: ``{changed, note, holder, diff}``, where ``note`` is always a message.

    A lease that another run holds is no failure here: it may be over when the run is started in earnest.
    """
    seen = inspect(path, clock=clock)
    if refusal(seen, wanted) is not None:
        note = msg(
            "Run {run_id} ({procedure}, {owner}) holds the lease of this host since {since_at}, until {expires_at}"
            " and longer while it is at work: started now, this one would be refused",
            **_who(seen),
        )
        return {"changed": False, "note": note, "holder": public(seen), "diff": _diff(seen, seen)}
    own = seen.lease is not None and seen.lease["run_id"] == wanted.run_id
    note = remark(seen, wanted, path) or msg(
        "Nobody else holds the lease of this host: it would be taken for {ttl_s}", ttl_s=wanted.ttl_s
    )
    holder = public(seen) if seen.state == HELD and not own else None
    after = Seen(HELD, wanted._asdict())
    return {"changed": not own, "note": note, "holder": holder, "diff": _diff(seen, after)}


def predict_release(path: str, *, run_id: str, clock: Clock = moment) -> dict[str, Any]:
    """What :func:`release` would do now, without doing it; a run that took no lease has lost none: no note."""
    return {**_given_back(inspect(path, clock=clock), run_id), "note": None}


def guarded(options: Optional[dict[str, Any]], work: Callable[[], _Result], *, check_mode: bool = False) -> _Result:
    """Do ``work`` under a lease and give it back, in one go; ``options`` as :data:`OPTIONS`, ``None`` for no lease.

    The result of ``work`` gets a ``note``, when there is one, and the ``lease`` it ran under. In check mode no lease
    is taken and ``note`` says who has it and what would happen.

    Raises:
        LeaseError: the lease could not be had; ``work`` was not done.
    """
    if options is None:
        return work()
    path, wanted = str(options["path"]), request(**options)
    if check_mode:
        note = predict(path, wanted)["note"]
        result = work()
        result["note"] = note
        return result
    got = acquire(path, wanted)
    try:
        result = work()
    finally:
        try:
            back = release(path, run_id=wanted.run_id)
            # Gone, though it was had: another run took it over and is done already.
            given = None if back["changed"] else back["note"] or _lost(Seen(FREE), wanted.run_id)
        except LeaseError as error:
            given = error.message  # it expires by itself: no reason to call the work a failure
    result["note"] = given or got["note"]
    result["lease"] = got["lease"]
    return result


# Below: one thing each.


def _seen(path: str, now: Moment) -> Seen:
    """Read and judge; what is no regular file counts as damaged."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return judge(None, now)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return Seen(DAMAGED, reason="no regular file")
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return Seen(DAMAGED, reason="no regular file")
        content = b""
        while len(content) <= MAX_BYTES:
            block = os.read(fd, MAX_BYTES + 1 - len(content))
            if not block:
                break
            content += block
    finally:
        os.close(fd)
    return judge(content, now)


@contextlib.contextmanager
def _locked(path: str, wait_s: float) -> Iterator[None]:
    """Be the only one to change the lease. The kernel frees the lock of a process that dies."""
    fd = -1
    try:
        _directory(os.path.dirname(path))
        fd = _lock(f"{path}.lock", time.monotonic() + wait_s)
        yield
    except OSError as error:
        raise LeaseError(_why(path, error)) from error
    finally:
        if fd >= 0:
            os.close(fd)


def _lock(path: str, deadline: float) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have removed the file meanwhile, and another process locked the new one.
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        if time.monotonic() >= deadline:
            raise LeaseError(
                msg("{path} stays locked by a process that does not go on: see who has it with fuser -v", path=path)
            )
        time.sleep(LOCK_POLL_S)


def _directory(path: str) -> None:
    """Have a directory of this user's own, 0700."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        os.makedirs(path, DIR_MODE, exist_ok=True)
        info = os.stat(path)
    if info.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "its directory belongs to another user")
    if stat.S_IMODE(info.st_mode) != DIR_MODE:
        os.chmod(path, DIR_MODE)


def _replace(path: str, lease: dict[str, Any]) -> None:
    """Write whole or not at all; under the lock there is one writer."""
    write_whole(path, json.dumps(clean(lease), sort_keys=True).encode(), FILE_MODE, temporary=f"{path}.tmp")


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
        lease[name] = _text(value)
    for name in ("ttl_s", "boot_s"):
        value = _seconds(found.get(name))
        if value is None or value < 0 or (name == "ttl_s" and value > MAX_TTL_S):
            return None, f"no {name}"
        lease[name] = value
    before = found.get("took_over")
    lease["took_over"] = (
        {name: _text(before.get(name)) or None for name in ("state", "run_id", "owner", "procedure")}
        if isinstance(before, dict)
        else None
    )
    return lease, ""


def _given_back(seen: Seen, run_id: str) -> dict[str, Any]:
    """What giving the lease of ``run_id`` back does to what was ``seen``."""
    wanted = _text(run_id)
    own = seen.lease is not None and seen.lease["run_id"] == wanted
    holder = public(seen) if seen.state == HELD and not own else None
    note = _lost(seen, wanted) if holder else None
    return {"changed": own, "note": note, "holder": holder, "diff": _diff(seen, Seen(FREE) if own else seen)}


def _diff(before: Seen, after: Seen) -> dict[str, str]:
    """Who has the lease, before and after."""
    lines = []
    for seen in (before, after):
        lease = seen.lease
        lines.append(f"{lease['run_id']} ({lease['procedure']}, {lease['owner']})\n" if lease else "nobody\n")
    return {"before": lines[0], "after": lines[1]}


def _who(seen: Seen, *, since: bool = True, expires: bool = True) -> dict[str, Any]:
    lease = seen.lease or {}
    args = {name: lease.get(name) for name in ("run_id", "procedure", "owner")}
    if since:
        args["since_at"] = lease.get("since")
    if expires:
        args["expires_at"] = seen.expires_at
    return args


def _lost(seen: Seen, run_id: str) -> Message:
    if seen.state == HELD and seen.lease is not None:
        return msg(
            "Run {own_run_id} has lost the lease of this host to run {run_id} ({procedure}, {owner}) since {since_at}:"
            " look at what both of them changed",
            own_run_id=run_id,
            **_who(seen, expires=False),
        )
    return msg(
        "Run {own_run_id} does not have the lease of this host any more: look at what it changed, then start it again",
        own_run_id=run_id,
    )


def _why(path: str, error: OSError) -> Message:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return msg("the lease {path} cannot be written, no space is left there: free some", path=path)
    return msg(
        "the lease {path} cannot be used: {reason}: let it and its directory belong to the application's user",
        path=path,
        reason=error.strerror or type(error).__name__,
    )


def _text(value: Any) -> str:
    """One bounded line."""
    return "" if value is None else str(clean(" ".join(str(value).split())))[:MAX_TEXT]


def _seconds(value: Any) -> Optional[float]:
    return None if isinstance(value, str) else number(value)
