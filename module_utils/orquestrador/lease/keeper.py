"""Keep the lease of the host for as long as a module is at work under it, and end the module that has lost it.

A lease is taken for minutes, so that a controller that is killed frees its host within minutes; who works for longer
renews it. That is the work of a process of its own, which has none of the module's files open and, where the module is
root, nothing of root's: a thread would share the module's user ids, which it changes. It goes on for as long as the
module has its pipe, that is also while a module whose controller is gone puts back what it had begun
(:func:`..system.pipeline.end_on_signals`), and ends with it, however that happens.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable, Optional, TypeVar

from ..core.messages import msg, plain
from ..system.command import fork
from ..system.identity import Owner
from . import lease_file, model

# Ansible's argument specification of whoever works under a lease that its procedure has taken.
OPTION: dict[str, Any] = {
    "type": "dict",
    "options": {
        **{name: lease_file.OPTIONS[name] for name in ("path", "run_id", "ttl_s")},
        "user": {"type": "str", "required": True},
    },
}

_Result = TypeVar("_Result", bound=dict[str, Any])

RENEWALS = 6  # within a lease: what fails is tried again several times before it expires
LOOK_S = 2.0  # how soon a module learns that its lease is another's
BEGIN_S = lease_file.LOCK_WAIT_S + 10.0
END_S = 10.0
_END, _RELEASE = b"e", b"r"


@contextlib.contextmanager
def under(module: Any) -> Iterator[None]:
    """:func:`kept` for a module of Ansible's with the option ``lease``: in check mode without, failing in a line."""
    try:
        with kept(None if module.check_mode else module.params["lease"]):
            yield
    except model.LeaseError as error:
        module.fail_json(msg=plain(error.message), failures=[error.message], evidence={"holder": error.holder})


@contextlib.contextmanager
def kept(options: Optional[dict[str, Any]]) -> Iterator[None]:
    """Renew the lease on entering and from then on until the end; ``options`` as :data:`OPTION`, ``None`` for no lease.

    When it is lost the module is told to end (SIGTERM), in its own orderly way. When nobody is left to read what the
    module prints, its procedure can't give the lease back: that is done here.

    Raises:
        LeaseError: the run does not have the lease, so nothing may be changed; or it was lost, and the module ended.
    """
    if options is None:
        yield
        return
    keeper = _Keeper(options)
    try:
        keeper.begin()
        yield
    except SystemExit as left:
        if keeper.lost is not None and left.code == 128 + signal.SIGTERM:
            raise keeper.lost from None
        raise
    finally:
        keeper.end()


def guarded(options: Optional[dict[str, Any]], work: Callable[[], _Result], *, check_mode: bool = False) -> _Result:
    """Do ``work`` under a lease and give it back, in one go; ``options`` as in :mod:`.lease_file`, ``None``: none.

    The result of ``work`` gets a ``note``, when there is one, and the ``lease`` it ran under. In check mode no lease
    is taken and ``note`` says who has it and what would happen.

    Raises:
        LeaseError: the lease could not be had; ``work`` was not done.
    """
    if options is None:
        return work()
    path, wanted = str(options["path"]), model.request(**options)
    if check_mode:
        note = lease_file.predict(path, wanted)["note"]
        result = work()
        result["note"] = note
        return result
    got = lease_file.acquire(path, wanted)
    try:
        result = work()
    finally:
        try:
            back = lease_file.release(path, run_id=wanted.run_id)
            # Gone, though it was had: another run took it over and is done already.
            given = None if back["changed"] else back["note"] or model.lost(model.Seen(model.FREE), wanted.run_id)
        except model.LeaseError as error:
            given = error.message  # it expires by itself: no reason to call the work a failure
    result["note"] = given or got["note"]
    result["lease"] = got["lease"]
    return result


def nobody_reads() -> bool:
    """Whether nobody is left to read what this process prints: its controller, or the connection to it, is gone."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


class _Keeper:
    """The module's side: the process that renews, and what it says."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._work = functools.partial(
            _renew_for_long, str(options["path"]), str(options["run_id"]), float(options["ttl_s"])
        )
        self._user = str(options["user"])
        self._pid = 0
        self._told = self._order = -1
        self._over = False
        self.lost: Optional[model.LeaseError] = None

    def begin(self) -> None:
        self._told, said = os.pipe()
        asked, self._order = os.pipe()
        self._pid = fork()
        if self._pid == 0:
            _child(self._user, self._work, asked, said)
        os.close(said)
        os.close(asked)
        first = _read(self._told, BEGIN_S)
        if first != {}:
            raise _error(first)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        found = _read(self._told, None)
        if not self._over:
            self.lost = _error(found)
            os.kill(os.getpid(), signal.SIGTERM)

    def end(self) -> None:
        self._over = True
        if self._pid == 0:
            return
        with contextlib.suppress(OSError):
            os.write(self._order, _RELEASE if nobody_reads() and self.lost is None else _END)
        deadline = time.monotonic() + END_S
        while os.waitpid(self._pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                with contextlib.suppress(OSError):
                    os.kill(self._pid, signal.SIGKILL)
            time.sleep(0.005)
        os.close(self._order)


def _read(descriptor: int, seconds: Optional[float]) -> Optional[dict[str, Any]]:
    """One line of the keeper's, ``None`` when it ended without one."""
    said = b""
    while not said.endswith(b"\n"):
        if not select.select([descriptor], [], [], seconds)[0]:
            return None
        part = os.read(descriptor, 65536)
        if not part:
            return None
        said += part
    found: dict[str, Any] = json.loads(said)
    return found


def _error(found: Optional[dict[str, Any]]) -> model.LeaseError:
    if not found:
        return model.LeaseError(
            msg("the lease of this host is not renewed any more: see what ended the process that did, and start again")
        )
    return model.LeaseError(found["message"], found["holder"])


# Below: the process that renews.


def _child(user: str, work: Callable[[int, int], None], asked: int, said: int) -> None:
    """Be nobody but the user, with nothing open but the pipes, and never come back."""
    try:
        # Who ends a run by signals means the module, which may have something to put back under the lease.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor > 2 and descriptor not in (asked, said):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        os.umask(0o077)
        if os.getuid() == 0:
            Owner(user).become()
        work(asked, said)
    finally:
        os._exit(0)


def _renew_for_long(path: str, run_id: str, ttl_s: float, asked: int, said: int) -> None:
    try:
        _begin(path, run_id, ttl_s)
    except model.LeaseError as error:
        _say(said, {"message": error.message, "holder": error.holder})
        return
    _say(said, {})
    due = time.monotonic() + ttl_s / RENEWALS
    while True:
        if select.select([asked], [], [], min(LOOK_S, ttl_s / RENEWALS))[0]:
            if os.read(asked, 1) == _RELEASE:
                lease_file.release(path, run_id=run_id)
            return
        try:
            if time.monotonic() >= due or not _ours(path, run_id):
                lease_file.renew(path, run_id=run_id, ttl_s=ttl_s)
                due = time.monotonic() + ttl_s / RENEWALS
        except model.LostError as error:
            _say(said, {"message": error.message, "holder": error.holder})
            return
        except model.LeaseError:
            continue  # a full disk, say: tried again, until somebody else has it


def _begin(path: str, run_id: str, ttl_s: float) -> None:
    """Renew it; what can't be written can still be had."""
    try:
        lease_file.renew(path, run_id=run_id, ttl_s=ttl_s)
    except model.LostError:
        raise
    except model.LeaseError:
        if lease_file.inspect(path).state != model.HELD or not _ours(path, run_id):
            raise


def _ours(path: str, run_id: str) -> bool:
    return lease_file.inspect(path).belongs_to(run_id)


def _say(descriptor: int, what: dict[str, Any]) -> None:
    os.write(descriptor, json.dumps(what).encode() + b"\n")
