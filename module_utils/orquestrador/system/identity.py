"""Work as the user who owns the files, with root's rights only for the moment that needs them.

A process of root that opens files in another user's directory does what that user tells it to by links. So the process
becomes that user, keeps root in its real user id, and takes it back for what only root may do: to be let in by the
database through its socket, and to run a command as somebody. Children get whom the process is at that moment, and
cannot go back (:mod:`.command`). No threads inside: one that is left behind there goes on as root afterwards. What may
hang, or asks another program of that user, is done apart (:mod:`.isolate`).
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from typing import Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from .command import Completed, run


class Owner:
    """A user to work as; when this process is neither root nor that user, nothing is possible."""

    def __init__(self, name: str) -> None:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise OperatorError(msg("there is no user {user} here: correct app_user", user=name)) from None
        self.name, self.uid, self.gid, self.home = entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir
        self.root = os.getuid() == 0
        if not self.root and os.geteuid() != self.uid:
            raise OperatorError(msg("this has to run as root or as {user}: correct become_user", user=name))

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Be the user inside. Whoever loads code lazily there has to be let in to where it lies."""
        if not self.root:
            yield
            return
        groups, group = os.getgroups(), os.getegid()
        os.initgroups(self.name, self.gid)
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)

    def become(self) -> None:
        """Be the user for good, with nothing of root's left."""
        if self.root:
            os.seteuid(0)  # from within :meth:`at_work` as well
            os.initgroups(self.name, self.gid)
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)

    @contextlib.contextmanager
    def privileged(self) -> Iterator[None]:
        """Be root inside, where this process may; elsewhere it stays who it is."""
        if not self.root:
            yield
            return
        user, group = os.geteuid(), os.getegid()
        os.seteuid(0)
        os.setegid(os.getgid())
        try:
            yield
        finally:
            os.setegid(group)
            os.seteuid(user)

    def run(
        self, argv: list[str], *, timeout_s: float, env: Optional[dict[str, str]] = None, cwd: Optional[str] = None
    ) -> Completed:
        """Run a command as the user, in ``cwd``, with an environment of its own and nothing of ours."""
        variables = {
            "HOME": self.home,
            "USER": self.name,
            "LOGNAME": self.name,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
            **(env or {}),
        }
        if cwd is not None:
            variables["PWD"] = cwd  # PM2 takes its word before the kernel's
        where = ["-C", cwd] if cwd is not None else []
        clean = ["env", "-i", *where, *(f"{name}={value}" for name, value in variables.items()), *argv]
        if not self.root:
            return run(clean, timeout_s=timeout_s)
        with self.privileged():
            return run(["runuser", "-u", self.name, "--", *clean], timeout_s=timeout_s)
