"""One mutating procedure per managed host at a time, from whichever controller it is started.

The lease is a JSON file on the managed host itself, replaced atomically under ``flock`` of a sibling file, so that of
several processes exactly one takes it. It always expires: a controller, a connection or a module that is killed blocks
nobody for longer than the lease was taken for (see :mod:`.model`).

Everything here runs as the user who owns the file, and reads of what others wrote into it never raise.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from typing import Any

from ..core.errors import is_full, os_reason
from ..core.jsonable import clean, iso
from ..core.messages import msg
from ..core.types import Message
from ..system.files import DIR_MODE, FILE_MODE, lock_file
from ..system.whole_file import sync_directory, write_whole
from . import model
from .model import Clock, LeaseError, Request, Seen, moment

LOCK_WAIT_S = 5.0  # the lock is held for milliseconds; longer means a stopped process or a sick file system

# Ansible's argument specification of whoever takes a lease for its own work.
OPTIONS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "run_id": {"type": "str", "required": True},
    "owner": {"type": "str", "required": True},
    "procedure": {"type": "str", "required": True},
    "ttl_s": {"type": "float", "required": True},
    "preempt": {"type": "bool", "default": False},
}


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
    message when it was taken over, ``lease`` as :func:`.model.public` has it.

    Raises:
        LeaseError: another run holds it (``holder`` is set), or the file can't be written.
    """
    with _locked(path, wait_s):
        now = clock()
        seen = _seen(path, now)
        refused = model.refusal(seen, wanted)
        if refused is not None:
            raise refused
        own = seen.belongs_to(wanted.run_id)
        lease = model.taken(seen, wanted, now)
        _replace(path, lease)
    held = Seen(model.HELD, lease, wanted.ttl_s, iso(now.wall + wanted.ttl_s))
    return {
        "changed": not own,
        "renewed": own,
        "note": model.remark(seen, wanted, path),
        "lease": model.public(held),
        "diff": model.diff(seen, held),
    }


def no_room(error: LeaseError) -> bool:
    """Whether a lease could not be had because its disk is full."""
    return is_full(error.__cause__)


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
        refused = model.refusal(_seen(path, clock()), wanted)
        if refused is not None:
            raise refused
        yield msg("The disk is too full to write the lease: others are kept off by its lock")


def renew(
    path: str, *, run_id: str, ttl_s: float, clock: Clock = moment, wait_s: float = LOCK_WAIT_S
) -> dict[str, Any]:
    """Extend the lease that ``run_id`` has by ``ttl_s`` from now; returns it as :func:`.model.public` has it.

    Raises:
        LostError: the run has it no more, so it must change nothing further.
        LeaseError: the file can't be written.
    """
    with _locked(path, wait_s):
        now = clock()
        seen = _seen(path, now)
        if seen.lease is None or not seen.belongs_to(model.one_line(run_id)):
            raise model.LostError(
                model.lost(seen, model.one_line(run_id)), model.public(seen) if seen.state == model.HELD else None
            )
        kept = {name: seen.lease[name] for name in ("run_id", "owner", "procedure")}
        lease = model.taken(seen, model.request(**kept, ttl_s=ttl_s), now)
        _replace(path, lease)
    return model.public(Seen(model.HELD, lease, ttl_s, iso(now.wall + ttl_s))) or {}


def release(path: str, *, run_id: str, clock: Clock = moment, wait_s: float = LOCK_WAIT_S) -> dict[str, Any]:
    """Give the lease of ``run_id`` back; another's is left alone.

    Returns ``{changed, note, holder, diff}``: ``note`` is a message when another run holds it, ``holder`` that run.

    Raises:
        LeaseError: the file can't be removed; the lease will expire by itself.
    """
    if not os.path.lexists(path):
        return model.given_back(Seen(model.FREE), run_id)
    with _locked(path, wait_s):
        seen = _seen(path, clock())
        given = model.given_back(seen, run_id)
        if given["changed"]:
            os.unlink(path)
            sync_directory(os.path.dirname(path))
    return given


def predict(path: str, wanted: Request, *, clock: Clock = moment) -> dict[str, Any]:
    """What :func:`acquire` would do now: ``{changed, note, holder, diff}``, where ``note`` is always a message.

    A lease that another run holds is no failure here: it may be over when the run is started in earnest.
    """
    seen = inspect(path, clock=clock)
    if model.refusal(seen, wanted) is not None:
        note = msg(
            "Run {run_id} ({procedure}, {owner}) holds the lease of this host since {since_at}, until {expires_at}"
            " and longer while it is at work: started now, this one would be refused",
            **model.who(seen),
        )
        return {"changed": False, "note": note, "holder": model.public(seen), "diff": model.diff(seen, seen)}
    own = seen.belongs_to(wanted.run_id)
    note = model.remark(seen, wanted, path) or msg(
        "Nobody else holds the lease of this host: it would be taken for {ttl_s}", ttl_s=wanted.ttl_s
    )
    holder = model.public(seen) if seen.state == model.HELD and not own else None
    after = Seen(model.HELD, wanted._asdict())
    return {"changed": not own, "note": note, "holder": holder, "diff": model.diff(seen, after)}


def predict_release(path: str, *, run_id: str, clock: Clock = moment) -> dict[str, Any]:
    """What :func:`release` would do now, without doing it; a run that took no lease has lost none: no note."""
    return {**model.given_back(inspect(path, clock=clock), run_id), "note": None}


# Below: one thing each.


def _seen(path: str, now: model.Moment) -> Seen:
    """Read and judge; what is no regular file counts as damaged."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return model.judge(None, now)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return Seen(model.DAMAGED, reason="no regular file")
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return Seen(model.DAMAGED, reason="no regular file")
        content = b""
        while len(content) <= model.MAX_BYTES:
            block = os.read(fd, model.MAX_BYTES + 1 - len(content))
            if not block:
                break
            content += block
    finally:
        os.close(fd)
    return model.judge(content, now)


@contextlib.contextmanager
def _locked(path: str, wait_s: float) -> Iterator[None]:
    """Be the only one to change the lease. The kernel frees the lock of a process that dies."""
    fd = -1
    try:
        _directory(os.path.dirname(path))
        try:
            fd = lock_file(f"{path}.lock", wait_s)
        except BlockingIOError:
            raise LeaseError(
                msg(
                    "{path} stays locked by a process that does not go on: see who has it with fuser -v",
                    path=f"{path}.lock",
                )
            ) from None
        yield
    except OSError as error:
        raise LeaseError(_why(path, error)) from error
    finally:
        if fd >= 0:
            os.close(fd)


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


def _why(path: str, error: OSError) -> Message:
    if is_full(error):
        return msg("the lease {path} cannot be written, no space is left there: free some", path=path)
    return msg(
        "the lease {path} cannot be used: {reason}: let it and its directory belong to the application's user",
        path=path,
        reason=os_reason(error),
    )
