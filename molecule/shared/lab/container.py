"""The container: created, started, filled and proven; every step can be taken up again where it was left."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import string
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shell
from podman import Podman, unified_cgroups
from settings import ACCOUNT, APP_DIR, PROJECT, SHARED, LabError, Settings

APP = SHARED / "app"
APP_SOURCE = "/opt/app-src"
INSTALLED = "/var/lib/orquestrador-lab/installed"
LABELS = "orquestrador."
PM2_UNIT = f"pm2-{ACCOUNT}.service"
ACCESS = ("hosts.yml", "ssh_config")
STATE_FILES = (
    "id_ed25519",
    "id_ed25519.pub",
    "host_ed25519",
    "host_ed25519.pub",
    "known_hosts",
    "vault-password",
    "install.log",
    "database-version",
    *ACCESS,
)
SKIPPED = {"node_modules", "dist", "logs", ".git", "__pycache__", "backups", "reports", ".env"}


def app_files() -> list[Path]:
    """The application's sources in a stable order, without anything generated."""
    if not APP.is_dir():
        return []
    return sorted(path for path in APP.rglob("*") if path.is_file() and not SKIPPED & set(path.relative_to(APP).parts))


def app_hash(settings: Settings) -> str:
    """What the installed application depends on: its sources and how the lab asks for it."""
    digest = hashlib.sha256(f"{settings.database} {int(settings.debug)}\n".encode())
    for path in app_files():
        digest.update(f"{path.relative_to(APP)} {path.stat().st_mode & 0o111}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def labels(settings: Settings, image: str) -> dict[str, str]:
    """What a container was created from; a difference means that it must be created anew."""
    return {
        f"{LABELS}image": image,
        f"{LABELS}project": str(PROJECT),
        f"{LABELS}ports": f"{settings.ssh_port},{settings.app_port}",
    }


def claim(settings: Settings, found: dict[str, Any] | None) -> None:
    """Raise LabError when the container belongs to another checkout that still exists."""
    if found is None:
        return
    owner = (found["Config"].get("Labels") or {}).get(f"{LABELS}project", "")
    if owner and owner != str(PROJECT) and Path(owner).is_dir() and not settings.replace:
        raise LabError(
            f"container {settings.name} belongs to the checkout in {owner}: `make lab-down` there, or take "
            "LAB_REPLACE=1 to replace it, or other LAB_NAME, LAB_SSH_PORT and LAB_APP_PORT"
        )


def ensure_keys(settings: Settings) -> None:
    """Key pairs of this lab: the operator's and the host's, and the pinned known_hosts."""
    settings.state.mkdir(parents=True, exist_ok=True)
    settings.state.chmod(0o700)
    for path, comment in ((settings.key, f"operator@{settings.name}"), (host_key(settings), settings.name)):
        if not path.exists() or not path.with_suffix(".pub").exists():
            path.unlink(missing_ok=True)
            shell.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    kind, public = host_key(settings).with_suffix(".pub").read_text().split()[:2]
    line = f"[127.0.0.1]:{settings.ssh_port} {kind} {public}\n"
    if not settings.known_hosts.exists() or settings.known_hosts.read_text() != line:
        settings.known_hosts.write_text(line)


def write_access(settings: Settings) -> None:
    """Write how the lab is reached: an inventory, and a configuration of ssh for whoever does not use Ansible."""
    for name in ACCESS:
        template = string.Template((SHARED / "templates" / name).read_text(encoding="utf-8"))
        text = template.substitute(
            name=settings.name, ssh_port=settings.ssh_port, app_port=settings.app_port, state=settings.state
        )
        handle = os.open(settings.state / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)


def host_key(settings: Settings) -> Path:
    """The host's own key, made here so that it is pinned before the first connection."""
    return settings.state / "host_ed25519"


def create(settings: Settings, podman: Podman, image: str) -> None:
    """Create the container (not started) with ports on loopback only."""
    command = ["/sbin/init"]
    if not unified_cgroups():
        command += ["SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "systemd.unified_cgroup_hierarchy=0"]
    argv = [
        "create",
        "--name",
        settings.name,
        "--hostname",
        settings.name,
        "--privileged",
        "--systemd=always",
        "--stop-signal",
        "SIGRTMIN+3",
        "--publish",
        f"127.0.0.1:{settings.ssh_port}:22",
        "--publish",
        f"127.0.0.1:{settings.app_port}:3001",
    ]
    for name, value in labels(settings, image).items():
        argv += ["--label", f"{name}={value}"]
    podman.run(*argv, image, *command, timeout=120)


def inject_keys(settings: Settings, podman: Podman) -> None:
    """Put the host key and the operator's public key into the container, running or not."""
    private = host_key(settings)
    files = [
        ("etc/ssh/ssh_host_ed25519_key", private.read_bytes(), 0o600, 0),
        ("etc/ssh/ssh_host_ed25519_key.pub", private.with_suffix(".pub").read_bytes(), 0o644, 0),
        (f"home/{ACCOUNT}/.ssh/authorized_keys", settings.key.with_suffix(".pub").read_bytes(), 0o644, 1000),
    ]
    # Podman 4 makes root the owner whatever the archive says; sshd accepts that, given that the file can be read.
    podman.run("cp", "-a=true", "-", f"{settings.name}:/", stdin=_tar(files), timeout=60)


def renew_home(settings: Settings, podman: Podman) -> None:
    """Copy the account's home within the container that was created and not started yet.

    A directory of an image can't be renamed by whoever runs on an overlay ("Invalid cross-device link"); one that was
    made in the container can, as on any server.
    """
    home = podman.run("mount", settings.name).stdout.strip() + f"/home/{ACCOUNT}"
    script = 'cp -a "$1" "$1.new" && rm -rf "$1" && mv "$1.new" "$1"'
    try:
        shell.run(shell.elevated(["sh", "-c", script, "sh", home]), timeout=120)
    finally:
        podman.run("umount", settings.name)


def resumable(found: dict[str, Any]) -> bool:
    """Whether the container is in a state that `start` can take on; anything else is created anew."""
    return found["State"]["Status"] in ("running", "created", "configured", "exited", "stopped", "initialized")


def start(settings: Settings, podman: Podman) -> None:
    """Start the container; LabError tells what else holds its ports, or what podman lacks."""
    done = podman.run("start", settings.name, check=False, timeout=120)
    if done.returncode != 0:
        reason = (done.stderr.strip() or "no message").splitlines()[-1]
        if "address already in use" in reason:
            raise LabError(
                f"port {settings.ssh_port} or {settings.app_port} on 127.0.0.1 is taken: free it, or set "
                f"LAB_SSH_PORT and LAB_APP_PORT ({reason})"
            )
        raise LabError(f"container {settings.name} can't start: {reason}. {podman.advice()}")


def wait_until(what: str, probe: Callable[[], str | None], timeout: float) -> None:
    """Poll until `probe` returns None; what it returns instead is the reason, shown when time is up."""
    deadline = time.monotonic() + timeout
    told = time.monotonic()
    pause = 0.1
    while True:
        reason = probe()
        if reason is None:
            return
        now = time.monotonic()
        if now > deadline:
            raise LabError(f"{what}: not within {timeout:.0f} s: {reason}")
        if now - told >= shell.HEARTBEAT:
            told = now
            shell.say(f"  ... {what}: {reason}")
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def boot_state(settings: Settings, podman: Podman) -> str | None:
    """None once systemd has finished booting, with or without failed units."""
    state = podman.execute(settings.name, ["systemctl", "is-system-running"], check=False).stdout.strip()
    return None if state in ("running", "degraded") else f"systemd is {state or 'not answering'}"


def failed_units(settings: Settings, podman: Podman) -> list[str]:
    """Names of units that systemd calls failed."""
    listed = podman.execute(
        settings.name, ["systemctl", "list-units", "--failed", "--plain", "--no-legend"], check=False
    ).stdout
    return [line.split()[0] for line in listed.splitlines() if line.strip()]


def has_pm2_unit(settings: Settings, podman: Podman) -> bool:
    """Whether PM2 comes back by itself when the machine starts, as bootstrap arranges."""
    return podman.execute(settings.name, ["systemctl", "is-enabled", PM2_UNIT], check=False).returncode == 0


def start_services(settings: Settings, podman: Podman) -> None:
    """Start what someone may have stopped: sshd, the database, and PM2 where bootstrap has given it a unit."""
    podman.execute(settings.name, ["systemctl", "reset-failed"], check=False)
    # The host key may be newer than the sshd that runs.
    podman.execute(settings.name, ["systemctl", "reload-or-restart", "ssh.service"], timeout=60)
    podman.execute(settings.name, ["systemctl", "start", "mysql.service"], timeout=90)
    if has_pm2_unit(settings, podman):
        podman.execute(settings.name, ["systemctl", "start", PM2_UNIT], timeout=60, check=False)


def database_state(settings: Settings, podman: Podman) -> str | None:
    """None once the database answers on its socket."""
    client = "mysqladmin" if settings.database == "mysql" else "mariadb-admin"
    done = podman.execute(settings.name, [client, "ping"], check=False)
    return None if done.returncode == 0 else (done.stderr.strip() or "no answer").splitlines()[-1]


def record_database_version(settings: Settings, podman: Podman) -> str:
    """Which database this lab got, e.g. `mysql 9.7.1`: Debian's unstable has another from one day to the next.

    It is written to the file `database-version` of the lab's state as well.
    """
    server = "mysqld" if settings.database == "mysql" else "mariadbd"
    said = podman.execute(settings.name, [server, "--version"], check=False).stdout
    found = re.search(r"\bVer (\d[\w.+~-]*)", said)
    version = f"{settings.database} {found[1] if found else 'of an unknown version'}"
    (settings.state / "database-version").write_text(version + "\n")
    return version


def ssh_argv(settings: Settings) -> list[str]:
    """ssh to the lab exactly as the inventory does: pinned host key, own key, nothing of the user's configuration."""
    return [
        "ssh",
        "-F",
        "/dev/null",
        "-i",
        str(settings.key),
        "-p",
        str(settings.ssh_port),
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        f'UserKnownHostsFile="{settings.known_hosts}"',
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=5",
        "-o",
        "LogLevel=ERROR",
        f"{ACCOUNT}@127.0.0.1",
    ]


def ssh_state(settings: Settings) -> str | None:
    """None when a login with the lab's key works."""
    done = shell.run([*ssh_argv(settings), "true"], timeout=15, check=False)
    return None if done.returncode == 0 else (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]


def app_state(settings: Settings) -> str | None:
    """None when the application answers through the published port and says that its database is connected."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{settings.app_port}/api/health", timeout=5) as answer:
            body = answer.read(4096)
    except (OSError, ValueError) as error:
        return f"the application does not answer: {error}"
    return None if b'"connected"' in body else "the application is not connected to its database"


def installed_hash(settings: Settings, podman: Podman) -> str:
    """Which application is installed, empty when none or not completely."""
    return podman.execute(settings.name, ["cat", INSTALLED], check=False).stdout.strip()


def install_app(settings: Settings, podman: Podman) -> None:
    """Copy the sources and run their installer; the marker is written last, so that an interrupted one runs again."""
    installer = APP / "install.sh"
    if not installer.is_file():
        shell.say("molecule/shared/app/install.sh is missing: the lab is up without the application")
        return
    podman.execute(settings.name, ["rm", "-f", INSTALLED])
    files = [
        (
            f"{APP_SOURCE.lstrip('/')}/{path.relative_to(APP)}",
            path.read_bytes(),
            0o755 if os.access(path, os.X_OK) else 0o644,
            0,
        )
        for path in app_files()
    ]
    # Not `podman cp`: of an archive this long it stops reading early and calls that a failure.
    podman.execute(settings.name, ["tar", "-x", "-C", "/", "-f", "-"], stdin=_tar(files), timeout=60)
    argv = podman.argv(
        "exec",
        "--env",
        f"LAB_DATABASE={settings.database}",
        "--env",
        "APP_PORT=3001",
        "--env",
        f"LAB_DEBUG={int(settings.debug)}",
        settings.name,
        "timeout",
        "-k",
        "10",
        "180",
        f"{APP_SOURCE}/install.sh",
        APP_SOURCE,
        ACCOUNT,
        APP_DIR,
    )
    shell.stage("installing the application", argv, timeout=200, log=settings.state / "install.log", echo=True)
    podman.execute(settings.name, ["tee", INSTALLED], stdin=app_hash(settings).encode())


def recovered(settings: Settings, podman: Podman) -> bool:
    """Whether a lab whose application is installed comes back by itself, within as long as that may take."""
    if installed_hash(settings, podman) != app_hash(settings):
        return False
    try:
        wait_until("application", lambda: healthy(settings, podman), 15 if has_pm2_unit(settings, podman) else 4)
    except LabError:
        return False
    return True


def healthy(settings: Settings, podman: Podman) -> str | None:
    """None when a running container is complete and answers by SSH and HTTP; otherwise what is wrong."""
    if APP.joinpath("install.sh").is_file() and installed_hash(settings, podman) != app_hash(settings):
        return "the application is not installed, or its sources have changed"
    return ssh_state(settings) or (app_state(settings) if APP.joinpath("install.sh").is_file() else None)


def remove(settings: Settings, podman: Podman) -> bool:
    """Remove the container, whatever state it is in; True when there was one."""
    there = podman.inspect(settings.name) is not None
    podman.run("rm", "--force", "--time", "5", "--volumes", "--ignore", settings.name, timeout=90)
    return there


def remove_state(settings: Settings) -> None:
    """Remove keys, known_hosts and generated secrets."""
    settings.vault_file.unlink(missing_ok=True)
    for name in STATE_FILES:
        (settings.state / name).unlink(missing_ok=True)
    # Never a tree: LAB_STATE_DIR could be anybody's directory.
    for directory in (settings.state / "group_vars" / "orquestrador", settings.state / "group_vars", settings.state):
        with contextlib.suppress(OSError):
            directory.rmdir()


def _tar(files: list[tuple[str, bytes, int, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content, mode, owner in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, owner, owner
            archive.addfile(entry, io.BytesIO(content))
        end = archive.offset
    # Two empty blocks end an archive. Padding beyond them, as tarfile writes it, podman 4 leaves unread, and then
    # calls it an error ("write on closed pipe") whenever the archive's length happens to split there.
    return buffer.getvalue()[:end] + bytes(1024)


def attach(argv: list[str]) -> int:
    """Run an interactive command in the foreground and return its status."""
    return subprocess.run(argv, check=False).returncode
