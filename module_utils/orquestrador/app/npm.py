"""npm asked for facts: bounded, without a trace in the user's home, and never believed when it could not look.

``npm outdated`` ends with status 1 when something is outdated, and ``npm audit`` when something is vulnerable: facts.
Both also end so when they could not ask, with a JSON object that says so: then nothing is known, and nothing is clean.
A registry that answers 403 or 404 for a package makes ``npm outdated`` leave it out without a word; what the registry
answered is therefore read from npm's own log of requests.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Optional
from urllib.parse import unquote, urlsplit

from ..core.errors import OperatorError, os_reason
from ..core.messages import msg
from ..core.redact import scrub_text
from ..core.types import Message
from ..system.command import Completed, run
from ..system.whole_file import write_whole

LISTED = 100  # packages in the evidence
KILL_GRACE_S = 5
STALE_S = 3600.0
MAX_TEXT = 200
_CACHE_PREFIX = "orquestrador-npm-"
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:[-+].*)?")
_FETCHED = re.compile(r"^npm http fetch GET (\d{3}) (\S+)", re.M)
_LOG_LINE = re.compile(r"^npm (?:error|ERR!) (?!A complete log|code |errno |syscall |audit$)(.+)", re.M)
DEPENDENCIES = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")


class NpmError(OperatorError):
    """npm could not tell; carries the one line for the operator."""


class Answer(NamedTuple):
    """What npm said: its JSON and its own log of requests."""

    code: Optional[int]
    data: Any
    log: str


# --- pure ----------------------------------------------------------------------------------------------------------


def one_line(text: Any) -> str:
    """A bounded line without secrets."""
    return scrub_text(" ".join(str(text).split()))[:MAX_TEXT]


def error_of(data: Any) -> Optional[str]:
    """The reason in an answer that says npm could not look; ``None`` when it is no such answer.

    ``{"error": {"code", "summary", "detail"}}``, for the audit with empty fields and a ``message`` beside it. A package
    may be called ``error`` as well: its entry has versions.
    """
    if not isinstance(data, dict):
        return None
    error = data.get("error")
    if isinstance(error, dict) and not {"wanted", "latest"} & set(error):
        said = error.get("summary") or data.get("message") or error.get("detail") or "no reason given"
        code = error.get("code")
        return one_line(f"{code}: {said}" if code and str(code) not in str(said) else said)
    if isinstance(error, str):
        return one_line(error)
    return None


def kind_of(current: Optional[str], latest: Optional[str]) -> str:
    """How far a version is behind: ``major``, ``minor``, ``patch``, or ``other`` when that can't be told.

    >>> kind_of("4.22.3", "5.3.0")
    'major'
    """
    have, want = _VERSION.fullmatch(current or ""), _VERSION.fullmatch(latest or "")
    if not have or not want:
        return "other"
    for part, kind in enumerate(("major", "minor", "patch"), start=1):
        if int(have.group(part)) != int(want.group(part)):
            return kind
    return "other"


def parse_outdated(data: Any, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``{name, current, wanted, latest, type, kind}`` each, sorted; :class:`ValueError` for what is no such answer."""
    if not isinstance(data, dict):
        raise ValueError("no object")  # noqa: TRY004 - an answer of a program, not an argument
    found = []
    for name, value in data.items():
        # In a workspace a package may be outdated in several places.
        for entry in value if isinstance(value, list) else [value]:
            if not isinstance(entry, dict) or not {"wanted", "latest"} & set(entry):
                raise ValueError(name)
            versions = {key: _version_text(entry.get(key)) for key in ("current", "wanted", "latest")}
            type_ = next((group for group in DEPENDENCIES if name in (_group(manifest, group))), entry.get("type"))
            found.append(
                {
                    "name": str(name)[:214],
                    **versions,
                    "type": str(type_) if type_ else None,
                    "kind": kind_of(versions["current"], versions["latest"]),
                }
            )
    return sorted(found, key=lambda package: (str(package["name"]), str(package["current"])))


def _group(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    group = manifest.get(name)
    return group if isinstance(group, dict) else {}


def _version_text(value: Any) -> Optional[str]:
    return str(value)[:64] if value not in (None, "") else None


def withheld(log: str) -> list[str]:
    """Packages that the registry has not or does not give, which npm leaves out of ``outdated`` without a word."""
    return sorted(_asked(log, lambda status: status in ("403", "404")))


def given(log: str) -> set[str]:
    """Packages that the registry told of."""
    return _asked(log, lambda status: status in ("200", "304"))


def _asked(log: str, answered: Callable[[str], bool]) -> set[str]:
    paths = (urlsplit(url).path for status, url in _FETCHED.findall(log) if answered(status))
    return {unquote(path.rsplit("/", 1)[-1]) for path in paths} - {""}


def table(packages: list[dict[str, Any]]) -> str:
    """The packages as npm prints them: for people on the host, and the same as long as nothing changes."""
    rows = [("Package", "Current", "Wanted", "Latest", "Type")]
    rows += [
        (one["name"], one["current"] or "MISSING", one["wanted"] or "-", one["latest"] or "-", one["type"] or "-")
        for one in packages
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ("  ".join(cell.ljust(widths[column]) for column, cell in enumerate(row)) for row in rows)
    return "".join(line.rstrip() + "\n" for line in lines)


# --- I/O -----------------------------------------------------------------------------------------------------------


class Npm:
    """npm in a project's directory, with a cache of its own that is gone afterwards: looking leaves nothing behind."""

    def __init__(self, directory: str, *, command: str, registry: str, timeout_s: float) -> None:
        self.directory = directory
        self.timeout_s = timeout_s
        self._registry = registry
        found = shutil.which(command)
        if found is None:
            raise NpmError(msg("{program} is not there: install npm, or correct app_npm_command", program=command))
        self._program = os.path.abspath(found)
        self._cache = ""

    def __enter__(self) -> Npm:
        _sweep()
        self._cache = tempfile.mkdtemp(prefix=_CACHE_PREFIX)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._cache, ignore_errors=True)

    @property
    def manifest(self) -> dict[str, Any]:
        """The project's ``package.json``; :class:`NpmError` when there is none that can be read."""
        path = os.path.join(self.directory, "package.json")
        try:
            data = _json_of(path)
        except FileNotFoundError:
            raise NpmError(msg("{path} does not exist: correct app_dir", path=path)) from None
        except (OSError, ValueError, RecursionError) as error:
            raise NpmError(msg("{path} cannot be read: {reason}", path=path, reason=one_line(error))) from error
        return data if isinstance(data, dict) else {}

    def ask(self, *arguments: str, timeout_s: Optional[float] = None) -> Answer:
        """Run npm and read its JSON; :class:`NpmError` when it could not do what it was asked."""
        limit_s = timeout_s or self.timeout_s
        done = run(self._argv(limit_s, arguments), timeout_s=limit_s, env=self._environment())
        what = f"npm {arguments[0]}"
        if done.timed_out:
            raise NpmError(
                msg(
                    "{command} did not end within {timeout_s}: look at the network and at npm's registry",
                    command=what,
                    timeout_s=limit_s,
                )
            )
        log = done.stderr.decode("utf-8", "replace")
        try:
            data = json.loads(done.stdout.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            raise NpmError(_no_json(what, done, log)) from None
        reason = error_of(data)
        if reason is not None:
            raise NpmError(msg("{command} could not be done: {reason}", command=what, reason=reason))
        return Answer(done.code, data, log)

    def _argv(self, limit_s: float, arguments: tuple[str, ...]) -> list[str]:
        # timeout(1) outlives us, so that npm ends even when we were killed ourselves.
        limit = ["timeout", "-k", str(KILL_GRACE_S), str(limit_s + KILL_GRACE_S)]
        return [*limit, "env", f"--chdir={self.directory}", self._program, *arguments, "--json"]

    def _environment(self) -> dict[str, str]:
        settings = {
            "cache": self._cache,
            "logs_max": "0",
            "loglevel": "http",
            "progress": "false",
            "color": "false",
            "fund": "false",
            "update_notifier": "false",
            "fetch_retries": "1",
            "fetch_retry_mintimeout": "500",
            "fetch_retry_maxtimeout": "2000",
            "fetch_timeout": "30000",
            **({"registry": self._registry} if self._registry else {}),
        }
        # Its interpreter lies beside it where it was not installed for everybody.
        path = os.pathsep.join((os.path.dirname(self._program), os.environ.get("PATH", os.defpath)))
        return {"PATH": path, **{f"npm_config_{name}": value for name, value in settings.items()}}


def _no_json(what: str, done: Completed, log: str) -> Message:
    if done.error is not None:
        return msg("{command} can't be run: {reason}", command=what, reason=done.error)
    said = _LOG_LINE.search(log)
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith("npm http")]
    reason = said.group(1) if said else (lines[-1] if lines else f"status {done.code}, no answer")
    return msg("{command} could not be done: {reason}", command=what, reason=one_line(reason))


def _sweep() -> None:
    """Remove the caches of runs that were killed."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as items:
        for item in items:
            with contextlib.suppress(OSError):
                info = item.stat(follow_symlinks=False)
                ours = item.name.startswith(_CACHE_PREFIX) and info.st_uid == os.geteuid()
                if ours and time.time() - info.st_mtime > STALE_S:
                    shutil.rmtree(item.path, ignore_errors=True)


def installed(directory: str) -> dict[str, str]:
    """Versions by place of every package in ``node_modules``: ``{"express": "4.22.3", "a/node_modules/b": …}``."""
    return dict(_installed(os.path.join(directory, "node_modules"), ""))


def _json_of(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _installed(folder: str, prefix: str) -> Iterator[tuple[str, str]]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        place = os.path.join(folder, name)
        if name.startswith(".") or os.path.islink(place) or not os.path.isdir(place):
            continue
        if name.startswith("@"):
            yield from _installed(place, f"{prefix}{name}/")
            continue
        version = None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            version = _json_of(os.path.join(place, "package.json")).get("version")
        yield prefix + name, str(version)
        yield from _installed(os.path.join(place, "node_modules"), f"{prefix}{name}/node_modules/")


def outdated(npm: Npm, keep_in: str, *, check_mode: bool, now: Optional[float] = None) -> dict[str, Any]:
    """Which packages are behind: ``{changed, note, evidence, path}``, kept in ``<keep_in>/npm-outdated-YYYYMMDD.txt``.

    Raises :class:`NpmError` when npm could not tell. ``changed`` says that the file had to be written.
    """
    manifest = npm.manifest
    wanted = any(_group(manifest, group) for group in DEPENDENCIES[:2])
    if wanted and not os.path.isdir(os.path.join(npm.directory, "node_modules")):
        raise NpmError(msg("There is no node_modules in {path}: run npm ci there", path=npm.directory))
    answer = npm.ask("outdated")
    try:
        packages = parse_outdated(answer.data, manifest)
    except ValueError as error:
        raise NpmError(msg("What npm outdated says can't be understood: {reason}", reason=one_line(error))) from error
    if answer.code not in (0, 1):
        reason = f"status {answer.code}"
        raise NpmError(msg("{command} could not be done: {reason}", command="npm outdated", reason=reason))
    missing = withheld(answer.log)
    counts = {kind: sum(package["kind"] == kind for package in packages) for kind in ("major", "minor", "patch")}
    evidence = {
        "outdated": len(packages),
        **counts,
        "other": len(packages) - sum(counts.values()),
        "packages": packages[:LISTED],
        "not_told": missing[:LISTED],
    }
    note: Any = msg("Every package is of the latest version")
    if packages:
        note = msg(
            "{count} packages are behind: {major} by a major version, {minor} by a minor one, {patch} by a patch",
            count=len(packages),
            **counts,
        )
    result: dict[str, Any] = {"changed": False, "note": note, "evidence": evidence, "path": None}
    if missing:
        names = ", ".join(missing[:5])
        told = msg("The registry gives nothing about {count} packages: {names}", count=len(missing), names=names)
        # Nothing was found only because nothing was told: that is not knowing.
        blind = not given(answer.log)
        result.update(status="unknown" if blind else "warn", note=told if blind else [told, note])
    path = os.path.join(keep_in, time.strftime("npm-outdated-%Y%m%d.txt", time.localtime(now)))
    _keep(result, path, table(packages).encode(), check_mode)
    return result


def _keep(result: dict[str, Any], path: str, data: bytes, check_mode: bool) -> None:
    """Keep a list as a file of today; what is there already is left alone."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read(len(data) + 1) == data:
            result["path"] = path
            return
    try:
        if not check_mode:
            write_whole(path, data, 0o640)
        result.update(changed=True, path=path)
    except OSError as error:
        notes = result["note"] if isinstance(result["note"], list) else [result["note"]]
        unkept = msg("{path} could not be written: {reason}", path=path, reason=os_reason(error))
        result.update(status=result.get("status", "warn"), note=[*notes, unkept])
