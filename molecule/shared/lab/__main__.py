"""The lab's life cycle on the command line: see `lab.sh --help`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import container
import image
import prepared
import shell
import vault
from podman import Podman
from settings import LabError, Settings, from_environment

ENVIRONMENT = """environment:
  LAB_NAME           container, orquestrador-* (orquestrador-lab)
  LAB_SSH_PORT       SSH on 127.0.0.1 (2222)
  LAB_APP_PORT       the application on 127.0.0.1 (3001)
  LAB_DATABASE       mysql or mariadb (mysql)
  LAB_STATE_DIR      keys, known_hosts, vault password, database-version (var/lab/<LAB_NAME>)
  LAB_CACHE_DIR      base tarball and build contexts (.cache/lab)
  LAB_BASE_IMAGE     start from this registry image rather than from mmdebstrap
  LAB_DEBIAN_MIRROR  archive for mmdebstrap (this machine's, where it runs Debian)
  LAB_DEBUG          1 gives the application its debug door, for tests (0)
  LAB_PREPARED       1 starts from an image that this checkout's bootstrap has been run on; made when there is none (0)
  LAB_REPLACE        1 replaces a container that belongs to another checkout (0)
"""


def build(settings: Settings, podman: Podman) -> str:
    """The name of the image that the lab starts from, built if need be."""
    podman.configure()
    name = image.ensure(settings, podman)
    if not settings.prepared:
        return name
    container.claim(settings, podman.inspect(settings.name))
    return prepared.ensure(settings, podman, name, lambda: _up(replace(settings, prepared=False), podman, name))


def up(settings: Settings, podman: Podman) -> None:
    """Bring the lab up from whatever state it is in."""
    _up(settings, podman, build(settings, podman))


def _up(settings: Settings, podman: Podman, name: str) -> None:
    container.ensure_keys(settings)
    container.write_access(settings)
    found = podman.inspect(settings.name)
    container.claim(settings, found)
    if found is not None:
        found = _same(settings, podman, found, name)
    running = found is not None and found["State"]["Status"] == "running"
    if running:
        reason = container.healthy(settings, podman)
        if reason is None:
            vault.ensure(settings)
            version = container.record_database_version(settings, podman)
            shell.say(f"{settings.name} is up already ({version}): {_where(settings)}")
            return
        shell.say(f"repairing {settings.name}: {reason}")
    if found is None:
        shell.say(f"creating container {settings.name} ({settings.database})")
        container.create(settings, podman, name)
        if settings.prepared:
            container.renew_home(settings, podman)
    container.inject_keys(settings, podman)
    if not running:
        shell.say(f"starting {settings.name}")
        container.start(settings, podman)
    container.wait_until("boot", lambda: container.boot_state(settings, podman), timeout=90)
    container.start_services(settings, podman)
    container.wait_until("database", lambda: container.database_state(settings, podman), timeout=60)
    container.wait_until("ssh login", lambda: container.ssh_state(settings), timeout=30)
    version = container.record_database_version(settings, podman)
    shell.say(f"{settings.name} has booted: systemd, sshd and {version} answer")
    if settings.prepared:
        container.wait_until("application", lambda: container.healthy(settings, podman), timeout=60)
    elif found is None or not container.recovered(settings, podman):
        container.install_app(settings, podman)
    if vault.ensure(settings):
        shell.say(f"generated {settings.vault_file}")
    reason = container.healthy(settings, podman)
    if reason is not None:
        raise LabError(
            f"{settings.name} is up but not healthy: {reason}: see `molecule/shared/lab.sh exec journalctl "
            "-b`, or start afresh with `make lab-down lab`"
        )
    failed = container.failed_units(settings, podman)
    if failed:
        shell.say(f"failed units: {', '.join(failed)}")
    shell.say(f"{settings.name} is up ({version}): {_where(settings)}")


def _same(settings: Settings, podman: Podman, found: dict[str, Any], image_name: str) -> dict[str, Any] | None:
    """The container when it can be used as it is; otherwise it is removed and there is None."""
    wanted = container.labels(settings, image_name)
    present = found["Config"].get("Labels") or {}
    state = found["State"]["Status"]
    if all(present.get(key) == value for key, value in wanted.items()) and container.resumable(found):
        return found
    shell.say(f"container {settings.name} ({state}) is of other inputs or can't go on: creating it anew")
    container.remove(settings, podman)
    return None


def down(settings: Settings, podman: Podman) -> None:
    """Remove the container, its keys and its secrets; images stay."""
    podman.configure()
    container.claim(settings, podman.inspect(settings.name))
    there = container.remove(settings, podman)
    container.remove_state(settings)
    shell.say(f"{settings.name} is {'removed' if there else 'not there'}")


def purge(settings: Settings, podman: Podman) -> None:
    """`down`, then the images and caches that labs share."""
    down(settings, podman)
    image.purge(settings, podman)
    shell.say("images and caches are removed")


def status(settings: Settings, podman: Podman) -> int:
    """Say how the lab is; 0 only when it is healthy."""
    podman.configure()
    found = podman.inspect(settings.name)
    if found is None:
        shell.say(f"{settings.name} does not exist: `make lab` creates it")
        return 3
    state = found["State"]["Status"]
    reason = container.healthy(settings, podman) if state == "running" else "not running"
    shell.say(f"{settings.name}: {state}, {reason or 'healthy'}; {_where(settings)}")
    return 0 if reason is None else 1


def _where(settings: Settings) -> str:
    return f"ssh 127.0.0.1:{settings.ssh_port}, application 127.0.0.1:{settings.app_port}"


def main() -> int:
    """Parse, lock, act; errors are one line."""
    parser = argparse.ArgumentParser(
        prog="lab.sh", description=__doc__, epilog=ENVIRONMENT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["up", "down", "status", "ssh", "exec", "purge", "build"])
    parser.add_argument("command", nargs=argparse.REMAINDER, help="for ssh and exec")
    args = parser.parse_args()
    shell.die_politely()
    try:
        settings = from_environment()
        podman = Podman()
        shell.authenticate()
        if args.action == "ssh":
            argv = container.ssh_argv(settings)
            return container.attach([*argv[:-1], *([] if args.command else ["-t"]), argv[-1], *args.command])
        if args.action == "exec":
            podman.configure()
            terminal = ["-it"] if sys.stdin.isatty() else ["-i"]
            return container.attach(podman.argv("exec", *terminal, settings.name, *(args.command or ["bash"])))
        if args.action == "status":
            return status(settings, podman)
        with shell.lock(settings.state.with_name(settings.state.name + ".lock"), f"lab {settings.name}", timeout=1800):
            if args.action == "build":
                print(build(settings, podman))
            else:
                {"up": up, "down": down, "purge": purge}[args.action](settings, podman)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"lab: interrupted {stop}; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
