"""Build the application, and leave it as it was when that fails."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import Any, NamedTuple, Union

from ..core.messages import msg
from ..core.redact import load_secrets
from ..core.types import Message
from ..system import long_command
from .dist import DeployError, Dist, digest, size

PACKAGE_MANAGERS = ("npm", "npx", "pnpm", "yarn", "corepack")


class Build(NamedTuple):
    """What to build, where, with what, for how long."""

    app_dir: str
    command: Union[str, list[str]]
    dist: str
    state_dir: str
    timeout_s: float
    env_file: str = ""


def arguments(command: Union[str, list[str]]) -> list[str]:
    """A command as an argv list; no shell ever sees it.

    Raises :class:`DeployError` when it is empty or has a quote that is never closed.
    """
    try:
        argv = shlex.split(command) if isinstance(command, str) else [str(part) for part in command]
    except ValueError as error:
        raise DeployError(
            msg(
                "the command {command} can't be read ({reason}): correct it",
                command=str(command)[:200],
                reason=str(error),
            )
        ) from error
    if not argv or not argv[0]:
        raise DeployError(msg("the command is empty: give one"))
    return argv


def require(argv: list[str], app_dir: str) -> None:
    """Raise :class:`DeployError`, one line, when the command can't possibly run in ``app_dir``."""
    if not os.path.isdir(app_dir):
        raise DeployError(msg("{path} does not exist: correct app_dir", path=app_dir))
    program = argv[0]
    place = os.path.join(app_dir, program) if "/" in program else shutil.which(program)
    if place is None:
        raise DeployError(
            msg(
                "{program} is not installed for {user}: install it, or name it by its full path",
                program=program,
                user=_user(),
            )
        )
    if not os.path.isfile(place):
        raise DeployError(msg("{path} does not exist: deploy it, or correct the command", path=place))
    if not os.access(place, os.X_OK):
        raise DeployError(msg("{path} may not be executed by {user}: chmod +x it", path=place, user=_user()))


def _user() -> str:
    from ..system.procfs import user_name

    return user_name(os.geteuid())


def _require_package(argv: list[str], app_dir: str) -> None:
    if os.path.basename(argv[0]) not in PACKAGE_MANAGERS:
        return
    if not os.path.isfile(os.path.join(app_dir, "package.json")):
        raise DeployError(msg("{path} has no package.json: correct app_dir, or deploy the application", path=app_dir))
    if not os.path.isdir(os.path.join(app_dir, "node_modules")):
        raise DeployError(msg("{path} has no node_modules: run npm ci there first", path=app_dir))


def build(wanted: Build, *, check_mode: bool) -> dict[str, Any]:
    """Build; ``{changed, evidence, note}``.

    A failing build raises :class:`DeployError` with ``evidence`` (the last lines) set on it; dist is then exactly as it
    was before.
    """
    argv = arguments(wanted.command)
    kept = Dist(wanted.dist, wanted.state_dir)
    require(argv, wanted.app_dir)
    _require_package(argv, wanted.app_dir)
    if check_mode:
        text = msg("{command} would be run in {path}.", command=shlex.join(argv), path=wanted.app_dir)
        if kept.interrupted():
            text = msg("{path} would be put back first: a build was killed half-way.", path=kept.path)
        return {"changed": True, "evidence": {}, "note": text}
    with kept.locked():
        repaired = kept.repair()
        before = digest(kept.path)
        mark = kept.begin()
        try:
            done = long_command.run(argv, cwd=wanted.app_dir, timeout_s=wanted.timeout_s, mark=mark)
            failure = _failure(done, argv, kept, wanted)
        except BaseException:
            kept.give_up()
            raise
        evidence = {
            "command": shlex.join(argv),
            "exit_code": done.code,
            "duration_s": done.seconds,
            "sha256_before": before,
            "last_lines": long_command.last_lines(done.output, load_secrets(wanted.env_file)),
            "repaired": repaired,
        }
        if failure is not None:
            kept.give_up()
            error = DeployError(failure)
            error.evidence = {**evidence, "sha256_after": digest(kept.path)}
            raise error
        kept.built()
        after = digest(kept.path)
        evidence.update(sha256_after=after, dist_bytes=size(kept.path), way_back=kept.way_back())
    note = (
        msg(
            "built in {duration_s}, {dist_bytes} in {path}",
            duration_s=done.seconds,
            dist_bytes=evidence["dist_bytes"],
            path=kept.path,
        )
        if after != before
        else msg("built in {duration_s}; {path} is as it was", duration_s=done.seconds, path=kept.path)
    )
    return {"changed": after != before or repaired, "evidence": evidence, "note": note}


def _failure(done: long_command.Ended, argv: list[str], kept: Dist, wanted: Build) -> Union[Message, None]:
    said = long_command.telling(done.output, load_secrets(wanted.env_file))
    if done.error is not None:
        return msg("{command} could not be started: {reason}", command=argv[0], reason=done.error)
    if done.timed_out:
        return msg(
            "the build was ended after {limit_s}, {path} is as it was before: look at its last lines, or raise"
            " app_build_timeout_s",
            limit_s=wanted.timeout_s,
            path=kept.path,
        )
    if done.code != 0:
        return msg(
            "the build failed with status {code}, {path} is as it was before: {reason}",
            code=done.code,
            path=kept.path,
            reason=said or "it said nothing",
        )
    if not os.path.isdir(kept.path) or not os.listdir(kept.path):
        return msg("the build ended well and left nothing in {path}: correct app_dist_dir", path=kept.path)
    return None
