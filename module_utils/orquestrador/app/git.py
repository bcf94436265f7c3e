"""What of the application's directory is not what the repository says: looked at, never touched.

No fetch: what is unpushed is told from what this clone last heard of the remote, and the age of that is told with it.
Looking runs no hook, no file system monitor, and takes no lock.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import time
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from ..core.redact import scrub_text
from ..core.types import Message
from ..system.command import MAX_OUTPUT_BYTES, Completed, run

LISTED = 20  # paths of each kind in the evidence
COMMITS = 5
MAX_SUBJECT = 120
_FIELD = "\x1f"
_CONFIGURATION = ("core.fsmonitor=", "core.hooksPath=/dev/null", "log.showSignature=false", "color.ui=false")
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_PAGER": "cat"}


class GitError(OperatorError):
    """The repository can't be judged; carries the one line for the operator."""


class NoRepositoryError(Exception):
    """The directory is not under git, which is a finding and no failure to look."""


class Status(NamedTuple):
    """``git status`` in figures; ``ahead`` and ``behind`` are ``None`` without an upstream that is known here."""

    branch: Optional[str]  # None: detached
    commit: Optional[str]  # None: no commit yet
    upstream: Optional[str]
    ahead: Optional[int]
    behind: Optional[int]
    stashes: int
    uncommitted: tuple[str, ...]
    untracked: tuple[str, ...]


# --- pure ----------------------------------------------------------------------------------------------------------


def parse_status(output: bytes) -> Status:
    """``git status --porcelain=v2 --branch --show-stash -z``; :class:`ValueError` for anything else."""
    headers: dict[str, str] = {}
    uncommitted: list[str] = []
    untracked: list[str] = []
    records = iter(output.decode("utf-8", "replace").split("\0"))
    for record in records:
        kind, _, rest = record.partition(" ")
        if kind == "#":
            name, _, value = rest.partition(" ")
            headers[name] = value
        elif kind in ("1", "2", "u"):
            # Fields before the path, as git-status(1) lists them.
            parts = rest.split(" ", {"1": 7, "2": 8, "u": 9}[kind])
            if len(parts) <= 7:
                raise ValueError(record)
            uncommitted.append(parts[-1])
            if kind == "2":
                next(records, None)  # where it was renamed from
        elif kind == "?":
            untracked.append(rest)
        elif record and kind != "!":
            raise ValueError(record)
    if "branch.oid" not in headers or "branch.head" not in headers:
        raise ValueError("no branch")
    ahead, behind = _ahead_behind(headers.get("branch.ab"))
    head, commit = headers["branch.head"], headers["branch.oid"]
    return Status(
        None if head == "(detached)" else head,
        None if commit == "(initial)" else commit,
        headers.get("branch.upstream"),
        ahead,
        behind,
        int(headers["stash"]) if headers.get("stash", "").isdigit() else 0,
        tuple(uncommitted),
        tuple(untracked),
    )


def _ahead_behind(text: Optional[str]) -> tuple[Optional[int], Optional[int]]:
    ahead, _, behind = (text or "").partition(" ")
    try:
        return int(ahead), -int(behind)
    except ValueError:
        return None, None


def parse_log(output: bytes) -> list[dict[str, str]]:
    """``{hash, at, subject}`` each; who wrote them stays there."""
    commits = []
    for line in output.decode("utf-8", "replace").splitlines():
        fields = line.split(_FIELD, 2)
        if len(fields) == 3:
            subject = scrub_text(fields[2])[:MAX_SUBJECT]
            commits.append({"hash": fields[0][:12], "at": fields[1], "subject": subject})
    return commits[:COMMITS]


def findings_of(status: Status, unpushed: Optional[int], remotes: bool) -> list[Message]:
    """What keeps the directory from being what the remote repository has."""
    found: list[Message] = []
    if status.uncommitted:
        found.append(msg("{count} files with changes that are not committed", count=len(status.uncommitted)))
    if status.untracked:
        found.append(msg("{count} files or directories that git does not know", count=len(status.untracked)))
    if status.commit is None:
        found.append(msg("Nothing was committed yet"))
    elif not remotes:
        found.append(msg("The repository has no remote: its commits are nowhere else"))
    elif unpushed:
        found.append(msg("{count} commits that were not pushed", count=unpushed))
    if status.branch is None:
        found.append(msg("No branch is checked out (detached HEAD at {commit})", commit=(status.commit or "")[:12]))
    elif remotes and status.upstream is None:
        found.append(msg("The branch {branch} has no upstream", branch=status.branch))
    elif status.upstream is not None and status.ahead is None and status.commit is not None:
        found.append(msg("The upstream {upstream} is gone", upstream=status.upstream))
    return found


# --- I/O -----------------------------------------------------------------------------------------------------------


class Repository:
    """A directory under git, asked with a bound on each question."""

    def __init__(self, directory: str, command: str, timeout_s: float) -> None:
        self._directory = directory
        self._command = command
        self._deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s

    def ask(self, *arguments: str) -> Completed:
        """Run git; :class:`GitError` when it can't be run or doesn't end."""
        settings = [part for setting in _CONFIGURATION for part in ("-c", setting)]
        done = run(
            [self._command, "--no-optional-locks", "-C", self._directory, *settings, *arguments],
            timeout_s=max(self._deadline - time.monotonic(), 0.1),
            env=_ENVIRONMENT,
        )
        if done.error is not None:
            raise GitError(
                msg("{program} can't be run: install git, or correct app_git_command", program=self._command)
            )
        if done.timed_out:
            raise GitError(
                msg(
                    "git did not answer within {timeout_s} about {path}: look at the disk and at the size of the tree",
                    timeout_s=self._timeout_s,
                    path=self._directory,
                )
            )
        return done

    def want(self, *arguments: str) -> bytes:
        """What git prints.

        :class:`NoRepositoryError` where there is none, :class:`GitError` with the reason when git fails otherwise.
        Output beyond the bound is a failure too: half a list would be counted as the whole.
        """
        done = self.ask(*arguments)
        if done.truncated:
            raise GitError(
                msg(
                    "git lists more than {limit_bytes} about {path}: add what is generated to .gitignore",
                    limit_bytes=MAX_OUTPUT_BYTES,
                    path=self._directory,
                )
            )
        if done.code != 0:
            reason = done.stderr.decode("utf-8", "replace")
            if "not a git repository" in reason:
                raise NoRepositoryError
            if "dubious ownership" in reason:
                raise GitError(_of_another(self._directory))
            line = next((one for one in reason.splitlines() if one.strip()), f"status {done.code}")
            raise GitError(
                msg("git can't read {path}: {reason}", path=self._directory, reason=scrub_text(line.strip())[:200])
            )
        return done.stdout

    def count(self, *arguments: str) -> Optional[int]:
        """A number that git prints, ``None`` when it prints none."""
        done = self.ask(*arguments)
        text = done.stdout.decode("utf-8", "replace").strip()
        return int(text) if done.code == 0 and text.isdigit() else None

    def text(self, *arguments: str) -> Optional[str]:
        """A line that git prints."""
        done = self.ask(*arguments)
        return (done.stdout.decode("utf-8", "surrogateescape").strip() or None) if done.code == 0 else None


def _of_another(directory: str) -> Message:
    try:
        owner = pwd.getpwuid(os.stat(directory).st_uid).pw_name
    except (OSError, KeyError):
        owner = "?"
    user = pwd.getpwuid(os.geteuid()).pw_name
    return msg(
        "The repository {path} or its directory belongs to {owner}, so git refuses to read it as {user}:"
        " give it to {user} with chown",
        path=directory,
        owner=owner,
        user=user,
    )


def _heard_at(repository: Repository, upstream: Optional[str]) -> Optional[float]:
    """When this clone last heard of its remote: a fetch, or a push of the branch; seconds since the epoch."""
    common = repository.text("rev-parse", "--path-format=absolute", "--git-common-dir")
    if common is None:
        return None
    places = ["FETCH_HEAD"]
    if upstream:
        places += [f"logs/refs/remotes/{upstream}", f"refs/remotes/{upstream}"]
    heard = []
    for place in places:
        with contextlib.suppress(OSError):
            heard.append(os.stat(os.path.join(common, place)).st_mtime)
    return max(heard, default=None)


def inspect(directory: str, *, command: str, timeout_s: float) -> dict[str, Any]:
    """Compare a directory with its repository: ``{status, note, evidence}``.

    ``ok`` when there is nothing to say, ``warn`` for findings (that there is no repository is one), ``unknown`` when
    git is missing or can't tell. Raises nothing for the repository's sake.
    """
    if not os.path.isdir(directory):
        return _unknown(msg("{path} is not there: correct app_dir", path=directory))
    repository = Repository(directory, command, timeout_s)
    try:
        return _inspected(repository)
    except NoRepositoryError:
        finding = msg("{path} is not a git repository: what runs there can't be compared with anything", path=directory)
        return {"status": "warn", "note": finding, "evidence": {"repository": False}}
    except GitError as error:
        return _unknown(error.message)
    except ValueError:
        return _unknown(msg("What git says of {path} can't be understood", path=directory))


def _unknown(message: Message) -> dict[str, Any]:
    return {"status": "unknown", "note": message, "evidence": {}}


def _inspected(repository: Repository) -> dict[str, Any]:
    status = parse_status(
        repository.want("status", "--porcelain=v2", "--branch", "--show-stash", "-z", "--untracked-files=normal", "--")
    )
    remotes = bool(repository.text("remote"))
    unpushed: Optional[int] = status.ahead
    if unpushed is None and status.commit is not None and remotes:
        unpushed = repository.count("rev-list", "--count", "HEAD", "--not", "--remotes")
    commits: list[dict[str, str]] = []
    if status.commit is not None:
        layout = f"--format=%h{_FIELD}%cI{_FIELD}%s"
        commits = parse_log(repository.want("log", f"-{COMMITS}", "--no-color", layout))
    heard_at = _heard_at(repository, status.upstream)
    age_s = max(round(time.time() - heard_at), 0) if heard_at is not None else None
    found = findings_of(status, unpushed, remotes)
    evidence = {
        "repository": True,
        "branch": status.branch,
        "commit": (status.commit or "")[:12] or None,
        "upstream": status.upstream,
        "uncommitted": len(status.uncommitted),
        "uncommitted_paths": [scrub_text(path)[:200] for path in status.uncommitted[:LISTED]],
        "untracked": len(status.untracked),
        "untracked_paths": [scrub_text(path)[:200] for path in status.untracked[:LISTED]],
        "unpushed": unpushed,
        "behind": status.behind,
        "stashes": status.stashes,
        "remote_heard_s": age_s,
        "commits": commits,
    }
    heard = (
        msg("as of {age_s} ago, when this clone last heard of its remote", age_s=age_s)
        if age_s is not None
        else msg("this clone has never heard of a remote")
    )
    if not found:
        clean = msg("Everything is committed and pushed")
        return {"status": "ok", "note": [clean, heard], "evidence": evidence}
    return {"status": "warn", "note": [*found, heard], "evidence": evidence}
