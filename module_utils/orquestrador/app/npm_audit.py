"""Known vulnerabilities of a project's packages, and their repair when somebody approved it.

A repair changes ``package.json``, the lock file and ``node_modules``, and one that is ended half-way leaves packages
missing, which the next start of the application would not survive. All of it is saved first, ``node_modules`` as links
to the same files, and put back when the repair fails.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError, os_reason
from ..core.messages import msg
from ..core.types import Message
from ..system.whole_file import write_whole
from .critical_files import copy_all
from .npm import DEPENDENCIES, Npm, NpmError, installed, one_line

SEVERITIES = ("info", "low", "moderate", "high", "critical")  # from least to worst
NEVER = "none"
WARN_FROM = "high"
LISTED = 50
ASIDE = ".before-audit-fix"
BROKEN = ".broken-by-audit-fix"
# npm writes it in place, so that a link to it would change as well.
WRITTEN_IN_PLACE = ".package-lock.json"
LOCKS = ("npm-shrinkwrap.json", "package-lock.json")


class FixError(OperatorError):
    """The repair failed and what could be put back was; ``changed`` tells whether something was changed."""

    def __init__(self, failures: list[Message], evidence: dict[str, Any], changed: bool) -> None:
        super().__init__(*failures, evidence=evidence)
        self.changed = changed


class Audit(NamedTuple):
    """What an audit found; ``packages`` are the worst ones first."""

    counts: dict[str, int]
    packages: list[dict[str, Any]]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


# --- pure ----------------------------------------------------------------------------------------------------------


def parse_audit(data: Any) -> Audit:
    """What ``npm audit --json`` found; :class:`ValueError` for an answer without complete counts: it is no clean one.

    npm 7 and newer list ``vulnerabilities`` by package, older ones ``advisories``; both have the counts.
    """
    if not isinstance(data, dict):
        raise ValueError("no object")  # noqa: TRY004 - an answer of a program, not an argument
    metadata = data.get("metadata")
    found = metadata.get("vulnerabilities") if isinstance(metadata, dict) else None
    if not isinstance(found, dict):
        raise ValueError("no counts")  # noqa: TRY004
    counts = {}
    for severity in SEVERITIES:
        value = found.get(severity)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"no count of {severity}")
        counts[severity] = value
    packages = _packages(data)
    if packages and not sum(counts.values()):
        raise ValueError("packages without counts")
    return Audit(counts, packages)


def _packages(data: dict[str, Any]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    by_package = data.get("vulnerabilities")
    if isinstance(by_package, dict):
        for name, entry in by_package.items():
            if isinstance(entry, dict):
                fix = entry.get("fixAvailable")
                titles = [via.get("title") for via in _list(entry.get("via")) if isinstance(via, dict)]
                breaking = isinstance(fix, dict) and bool(fix.get("isSemVerMajor"))
                repair = "breaking" if breaking else "yes" if fix else "no"
                entries.append(_package(name, entry.get("severity"), bool(entry.get("isDirect")), titles, repair))
    advisories = data.get("advisories")
    if isinstance(advisories, dict):
        for entry in advisories.values():
            if isinstance(entry, dict):
                title = [entry.get("title")]
                entries.append(_package(entry.get("module_name"), entry.get("severity"), None, title, None))
    entries.sort(key=lambda one: (-SEVERITIES.index(one["severity"]), one["name"]))
    return entries


def _package(name: Any, severity: Any, direct: Optional[bool], titles: list[Any], fix: Optional[str]) -> dict[str, Any]:
    known = severity if severity in SEVERITIES else SEVERITIES[-1]
    return {
        "name": str(name)[:214],
        "severity": known,
        "direct": direct,
        "titles": [one_line(title) for title in titles if title][:3],
        "fix": fix,
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def status_of(counts: dict[str, int], fail_level: str) -> str:
    """``failed`` from ``fail_level`` on, ``warn`` for what is high or worse, else ``ok``."""
    worst = max((SEVERITIES.index(severity) for severity, count in counts.items() if count), default=-1)
    if fail_level != NEVER and worst >= SEVERITIES.index(fail_level):
        return "failed"
    return "warn" if worst >= SEVERITIES.index(WARN_FROM) else "ok"


def counted(counts: dict[str, int]) -> Message:
    """The counts in a line."""
    if not sum(counts.values()):
        return msg("No known vulnerability")
    return msg(
        "Known vulnerabilities: {critical} critical, {high} high, {moderate} moderate, {low} low, {info} informative",
        **counts,
    )


def differences(before: dict[str, str], after: dict[str, str]) -> list[dict[str, Optional[str]]]:
    """Packages whose installed version is another one: ``{name, before, after}`` each."""
    return [
        {"name": name, "before": before.get(name), "after": after.get(name)}
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


# --- I/O -----------------------------------------------------------------------------------------------------------


def look(npm: Npm) -> Audit:
    """Audit; :class:`NpmError` when npm could not tell."""
    answer = npm.ask("audit")
    try:
        return parse_audit(answer.data)
    except ValueError as error:
        raise NpmError(msg("What npm audit says can't be understood: {reason}", reason=one_line(error))) from error


class Saved:
    """The project's two files as they were: copies with history, and the means to put them back."""

    def __init__(self, npm: Npm, saved_dir: str) -> None:
        names = [name for name in ("package.json", *LOCKS) if os.path.lexists(os.path.join(npm.directory, name))]
        self._paths = {name: os.path.join(npm.directory, name) for name in names}
        self._contents: dict[str, tuple[bytes, int]] = {}
        for name, path in self._paths.items():
            with open(path, "rb") as file:
                self._contents[name] = (file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode))
        files = [{"name": name, "path": path} for name, path in self._paths.items()]
        result = copy_all(files, saved_dir)
        if result["failures"]:
            raise NpmError(result["failures"][0])
        self.copies = [str(entry["copy"]) for entry in result["files"]]

    def changed(self) -> list[str]:
        """Names of the files that are no longer as they were."""
        return [name for name, path in self._paths.items() if _digest(path) != _of(self._contents[name][0])]

    def put_back(self) -> list[Message]:
        """Put back what changed; what could not be put back."""
        failures = []
        for name in self.changed():
            content, mode = self._contents[name]
            try:
                write_whole(self._paths[name], content, mode)
            except OSError as error:
                failures.append(
                    msg(
                        "{path} could not be put back, {reason}: copy {copy} to it",
                        path=self._paths[name],
                        reason=os_reason(error),
                        copy=self.copies[list(self._paths).index(name)],
                    )
                )
        return failures


class Modules:
    """``node_modules`` as it was, beside itself: links to the same files, since npm replaces packages as a whole."""

    def __init__(self, npm: Npm) -> None:
        self._path = os.path.realpath(os.path.join(npm.directory, "node_modules"))
        self._aside = self._path + ASIDE
        if os.path.lexists(self._aside):
            raise NpmError(
                msg(
                    "{path} is left from a repair that was killed: put it back as node_modules, or remove it",
                    path=self._aside,
                )
            )
        try:
            if os.path.isdir(self._path):
                _link_tree(self._path, self._aside)
        except OSError as error:
            self.forget()
            raise NpmError(
                msg("{path} can't be saved, so nothing is repaired: {reason}", path=self._path, reason=one_line(error))
            ) from error

    def forget(self) -> None:
        """Remove what was saved."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def put_back(self) -> None:
        """Put back what was saved, as a whole; what can't be is seen by looking at the packages."""
        broken = self._path + BROKEN
        shutil.rmtree(broken, ignore_errors=True)
        with contextlib.suppress(OSError):
            if os.path.lexists(self._path):
                os.rename(self._path, broken)
            if os.path.lexists(self._aside):
                os.rename(self._aside, self._path)
        shutil.rmtree(broken, ignore_errors=True)


def _link_tree(source: str, target: str) -> None:
    """A tree of the same files, directories and symbolic links its own. Raises :class:`OSError`."""
    os.mkdir(target, stat.S_IMODE(os.stat(source).st_mode))
    with os.scandir(source) as items:
        for item in items:
            place = os.path.join(target, item.name)
            if item.is_symlink():
                os.symlink(os.readlink(item.path), place)
            elif item.is_dir(follow_symlinks=False):
                _link_tree(item.path, place)
            elif item.name == WRITTEN_IN_PLACE:
                shutil.copy2(item.path, place)
            else:
                os.link(item.path, place)


def _of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(path: str) -> Optional[str]:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return _of(file.read())
    return None


def audit(
    npm: Npm, *, fail_level: str, fix: bool, check_mode: bool, saved_dir: str, fix_timeout_s: float
) -> dict[str, Any]:
    """Audit and, where that was approved and something was found, repair and audit again.

    :returns: ``{changed, status, note, evidence}``; ``status`` judges what is there now, and is left out when a repair
        leaves nothing to say.
    :raises NpmError: npm could not tell, or nothing could be saved; nothing was changed.
    :raises FixError: the repair failed.
    """
    _ = npm.manifest
    before = look(npm)
    evidence: dict[str, Any] = {"before": before.counts, "after": None, "fixed": [], "saved": []}
    evidence["packages"] = before.packages[:LISTED]
    result = {"changed": False, "note": counted(before.counts), "evidence": evidence}
    result["status"] = status_of(before.counts, fail_level)
    if not fix or not before.total:
        return result
    if check_mode:
        return {**result, "changed": True, "note": [counted(before.counts), msg("npm audit fix would be run")]}
    evidence["fixed"], changed, evidence["saved"] = _repair(npm, saved_dir, fix_timeout_s, evidence)
    result["changed"] = changed
    done = msg("npm audit fix changed {count} packages", count=len(evidence["fixed"]))
    try:
        after = look(npm)
    except NpmError as error:
        return {**result, "status": "unknown", "note": [done, error.message]}
    evidence.update(after=after.counts, packages=after.packages[:LISTED])
    result.update(
        status=status_of(after.counts, fail_level), note=[counted(before.counts), done, counted(after.counts)]
    )
    if result["status"] == "ok":
        del result["status"]  # ok or changed, as the result has it
    return result


def _repair(
    npm: Npm, saved_dir: str, timeout_s: float, evidence: dict[str, Any]
) -> tuple[list[dict[str, Optional[str]]], bool, list[str]]:
    """Run ``npm audit fix``: ``(packages changed, whether anything changed, copies)``."""
    try:
        saved = Saved(npm, saved_dir)
    except OSError as error:
        raise NpmError(msg("{path} cannot be read: {reason}", path=npm.directory, reason=one_line(error))) from error
    before = installed(npm.directory)
    modules = Modules(npm)
    # Its status says whether something is left, which the next audit says better; what went wrong is in its answer.
    arguments = ("audit", "fix", *_omitted(npm.manifest, before))
    try:
        npm.ask(*arguments, timeout_s=timeout_s)
    except NpmError as error:
        failures = [error.message, *saved.put_back()]
        modules.put_back()
        moved = differences(before, installed(npm.directory))
        failures.append(_state_of(npm, moved, len(failures) == 1))
        raise FixError(failures, {**evidence, "saved": saved.copies, "left": moved[:LISTED]}, bool(moved)) from error
    except BaseException:
        saved.put_back()
        modules.put_back()
        raise
    modules.forget()
    changed = differences(before, installed(npm.directory))
    return changed[:LISTED], bool(changed or saved.changed()), saved.copies


def _omitted(manifest: dict[str, Any], modules: dict[str, str]) -> list[str]:
    """Leave out of the repair what was left out of the installation."""
    wanted = manifest.get(DEPENDENCIES[1])
    left_out = isinstance(wanted, dict) and wanted and not any(name in modules for name in wanted)
    return ["--omit=dev"] if left_out else []


def _state_of(npm: Npm, moved: list[dict[str, Optional[str]]], files_back: bool) -> Message:
    if moved:
        return msg(
            "{count} packages in node_modules are no longer as they were: run npm ci in {path} before the next restart",
            count=len(moved),
            path=npm.directory,
        )
    if files_back:
        return msg("package.json, the lock file and node_modules are as they were")
    return msg("node_modules is as it was")
