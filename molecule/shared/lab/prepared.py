"""The image of a machine that has been bootstrapped, for scenarios that do not test the bootstrap.

It is made by this checkout's own bootstrap, on the machine of whoever needs it first, and made anew whenever something
that decides it has changed. A machine of it comes up as after a reboot: the database and PM2 by their units.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import container
import shell
from image import REPOSITORY
from podman import Podman
from settings import ACCOUNT, PROJECT, LabError, Settings

# Whatever a host looks like after bootstrap comes from one of these, from the image below or from the application.
DECIDING = (
    "action_plugins",
    "ansible.cfg",
    "callback_plugins",
    "doc_fragments",
    "filter_plugins",
    "library",
    "module_utils",
    "molecule/shared/lab",
    "molecule/shared/templates",
    "orquestrador_ops",
    "playbooks/setup",
    "requirements",
    "requirements.yml",
    "roles",
)
# Beyond that its logs and counters would be of another day than the tests', and its packages not the newest.
MAX_AGE_S = 6 * 3600
KILLED = 137  # the status of a container that did not shut down in time
# What each machine has of its own: the image carries none of it.
FORGET_IDENTITY = f"rm -f /etc/ssh/ssh_host_* /home/{ACCOUNT}/.ssh/authorized_keys && : >/etc/machine-id"


def digest(settings: Settings, image: str, project: Path = PROJECT) -> str:
    """What decides the prepared image; the checkout as well, because its secrets lie there."""
    found = hashlib.sha256(f"{project} {image} {container.app_hash(settings)}\n".encode())
    for path in _deciding_files(project):
        content = path.read_bytes()
        found.update(f"{path.relative_to(project)} {path.stat().st_mode & 0o111} {len(content)}\n".encode() + content)
    return found.hexdigest()[:16]


def _deciding_files(project: Path) -> Iterator[Path]:
    for name in DECIDING:
        place = project / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".mo":
                yield path


def ensure(settings: Settings, podman: Podman, image: str, bring_up: Callable[[], None]) -> str:
    """The name of an image that fits this checkout, made with `bring_up` and a bootstrap if need be.

    The secrets that it was bootstrapped with become the lab's.
    """
    repository = f"{REPOSITORY}-prepared-{settings.database}"
    tag = digest(settings, image)
    kept = settings.cache / "prepared" / tag
    with shell.lock(settings.cache / "prepared.lock", "the prepared image", timeout=1800):
        if not (kept / "vault.yml").exists() or not _is_young(podman, f"{repository}:{tag}"):
            _make(settings, podman, f"{repository}:{tag}", kept, bring_up)
            _forget_others(settings, podman, keep=f"{repository}:{tag}")
    for source, target in _secrets(settings, kept):
        if not target.exists() or target.read_bytes() != source.read_bytes():
            _copy_private(source, target)
    return f"{repository}:{tag}"


def _secrets(settings: Settings, kept: Path) -> tuple[tuple[Path, Path], tuple[Path, Path]]:
    """Where they are kept with the image, and where the lab has them."""
    return (kept / "vault-password", settings.vault_password), (kept / "vault.yml", settings.vault_file)


def _copy_private(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(source.read_bytes())
    part.replace(target)


def _is_young(podman: Podman, name: str) -> bool:
    said = podman.run("image", "inspect", "--format", "{{.Created.Unix}}", name, check=False)
    return said.returncode == 0 and dt.datetime.now(dt.UTC).timestamp() - int(said.stdout) < MAX_AGE_S


def _make(settings: Settings, podman: Podman, name: str, kept: Path, bring_up: Callable[[], None]) -> None:
    container.remove(settings, podman)
    bring_up()
    _bootstrap(settings)
    # Before the image, whose existence says that they are there.
    for target, source in _secrets(settings, kept):
        _copy_private(source, target)
    podman.execute(settings.name, ["sh", "-c", FORGET_IDENTITY])
    shell.say("shutting down and committing")
    podman.run("stop", "--time", "60", settings.name, timeout=90)
    found = podman.inspect(settings.name) or {"State": {}}
    if found["State"].get("ExitCode") == KILLED:
        raise LabError(f"{settings.name} did not shut down within a minute: an image of it would not be sound")
    podman.run("commit", "--quiet", settings.name, name, timeout=300)
    container.remove(settings, podman)


def _bootstrap(settings: Settings) -> None:
    """The checkout's own playbook, as an operator runs it; what it records of the run is thrown away."""
    playbook = PROJECT / ".venv" / "bin" / "ansible-playbook"
    argv = [str(playbook) if playbook.exists() else "ansible-playbook", "-i", str(settings.state / "hosts.yml")]
    argv += [str(PROJECT / "playbooks" / "setup" / "bootstrap.yml"), "-e", f"@{settings.vault_file}"]
    argv += ["--vault-password-file", str(settings.vault_password)]
    with tempfile.TemporaryDirectory(dir=settings.cache) as records:
        environment = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "OPS_STATE_DIR": records}
        shell.stage(
            "bootstrapping the machine that is to be the prepared image",
            ["env", *(f"{key}={value}" for key, value in environment.items()), *argv],
            timeout=600,
            log=settings.cache / f"prepared-{settings.database}.log",
        )


def _forget_others(settings: Settings, podman: Podman, keep: str) -> None:
    """Remove prepared images of what this checkout was before, and those whose checkout is gone; not those in use."""
    listed = podman.run("images", "--format", "json", "--filter", f"reference={REPOSITORY}-prepared-*", check=False)
    images: list[dict[str, Any]] = json.loads(listed.stdout or "[]") or []
    for found in images:
        owner = (found.get("Labels") or {}).get(f"{container.LABELS}project", "")
        for name in found.get("Names") or []:
            same_kind = name.partition(":")[0] == keep.partition(":")[0]
            if name != keep and ((owner == str(PROJECT) and same_kind) or not Path(owner).is_dir()):
                podman.run("rmi", name, check=False, timeout=60)
    podman.run(
        "image", "prune", "--force", "--filter", f"label={container.LABELS}project={PROJECT}", check=False, timeout=120
    )
    listed = podman.run("images", "--format", "{{.Tag}}", "--filter", f"reference={REPOSITORY}-prepared-*", check=False)
    for folder in (settings.cache / "prepared").iterdir():
        if listed.returncode == 0 and folder.name not in listed.stdout.split():
            shutil.rmtree(folder)
