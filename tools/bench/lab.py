"""The lab as the benchmarks use it: how it is reached, and the state that every one of them begins from."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.unit.fakes.loading import load
from tools.bench.common import LATEST, LIMIT_S, ROOT, CannotMeasureError, captured, environment, say, timed

STANDARD = ROOT / "inventory" / "lab"
URL = "http://127.0.0.1:3001/api/health"
# Undoes the faults of the benchmarks of recovery.
MEND = (
    "sudo rm -rf /run/systemd/system/pm2-$USER.service.d && sudo systemctl daemon-reload;"
    " sudo systemctl start mysql 2>/dev/null || sudo systemctl start mariadb;"
    " systemctl is-active --quiet pm2-$USER || sudo systemctl restart pm2-$USER"
)
# A run that was killed holds it until it expires.
FREE_LEASE = "rm -f ~/.local/state/orquestrador-ops/lease.json"
# One sshd stands for all hosts of a fleet: beyond ten logins under way it would drop what many would not.
MANY_LOGINS = (
    "echo 'MaxStartups 1000' | sudo -n tee /etc/ssh/sshd_config.d/orquestrador-bench.conf >/dev/null"
    " && sudo -n systemctl reload ssh"
)
# What a benchmark that was interrupted left running or lying about, then what the others leave on purpose: log files
# and their archives, copies of the critical files.
CLEAR = """
for file in ~/bench-*.pid; do [ ! -e "$file" ] || kill "$(cat "$file")" 2>/dev/null; done
pm2 delete all >/dev/null 2>&1
echo 'DROP DATABASE IF EXISTS orquestrador_bench' | sudo -n "$(command -v mysql || command -v mariadb)"
rm -rf ~/bench-* /tmp/bench* /var/tmp/orquestrador-bench-* {folder}/backups/critical/* {folder}/backups/critical/.[!.]*
find {folder}/logs -type f -delete
: > ~/.pm2/pm2.log
"""
# A server that was started a moment ago may still recover; a start of PM2's own may have been under way.
START = (
    "cd {folder} && pm2 delete all >/dev/null 2>&1; INSTANCES={instances} pm2 start ecosystem.config.cjs >/dev/null"
    f" && for i in $(seq 120); do curl -s -m 2 {URL} | grep -q connected && exit 0; sleep 0.5; done;"
    f" echo 'the application is not healthy within a minute:'; curl -sS -m 2 {URL};"
    " tail -n 15 {folder}/logs/error.log; exit 1"
)


class Lab:
    """How the lab is reached, read from its inventory as Ansible sees it."""

    def __init__(self) -> None:
        settings = load("molecule/shared/lab/settings.py").from_environment()
        self.vault_password: Path = settings.vault_password
        self.inventory = STANDARD if settings.vault_file.is_relative_to(STANDARD) else written_inventory(settings)
        # Whatever runs Ansible inherits it.
        os.environ["ANSIBLE_INVENTORY"] = str(self.inventory)
        listing = captured(["ansible-inventory", "--list"], limit_s=60)
        variables: dict[str, Any] = next(iter(json.loads(listing)["_meta"]["hostvars"].values()))
        self.user: str = variables["ansible_user"]
        self.host: str = variables["ansible_host"]
        self.port = str(variables["ansible_port"])
        resolve = lambda value: str(value).replace("{{ inventory_dir }}", str(self.inventory))  # noqa: E731 - two uses
        self.key = resolve(variables["ansible_ssh_private_key_file"])
        self.common = shlex.split(resolve(variables.get("ansible_ssh_common_args", "")))
        self.variables = variables
        self.app: str = variables.get("app_name", "orquestrador-v3")
        self.folder: str = variables.get("app_dir", "~/webapp")

    def ssh(self, command: str) -> list[str]:
        """A plain SSH call of its own, as an operator types it."""
        options = ["-oBatchMode=yes", "-oControlMaster=no", "-oControlPath=none", "-i", self.key, *self.common]
        return ["ssh", *options, "-p", self.port, f"{self.user}@{self.host}", command]

    def run(self, script: str, given: bytes = b"", *, limit_s: float = LIMIT_S) -> str:
        """What a script prints that runs on the lab as the application's user."""
        return captured(self.ssh(script), given, limit_s=limit_s, what=f"on the lab: {script}")

    def start(self, instances: int) -> None:
        """Start the application anew with this many instances, nothing beside it, and wait until it is healthy."""
        self.run(START.format(folder=self.folder, instances=instances))

    def reset(self, work: Path) -> None:
        """Bring the lab to the state that every benchmark begins from, whatever ran before.

        The application started anew and healthy, its logs empty, no lease, nothing of other benchmarks; the critical
        files copied, by a daily routine that isn't counted, so that the first one that is finds them as a later one.
        """
        self.run(f"{FREE_LEASE}; {MEND}")
        self.run(CLEAR.format(folder=self.folder))
        self.start(1)
        self.run("pm2 save >/dev/null; sync")
        settings = environment(work, OPS_STATE_DIR=str(work / "reset-state"))
        timed(["ansible-playbook", "playbooks/routine/daily.yml"], settings, work / "reset.log", accept=(0, 2))

    def database(self) -> str:
        """Product and version of its database server."""
        return product(self.run('echo "SELECT VERSION()" | sudo -n "$(command -v mysql || command -v mariadb)" -N'))


def product(version: str) -> str:
    """What a server's ``VERSION()`` says it is."""
    return f"{'MariaDB' if 'mariadb' in version.lower() else 'MySQL'} {version.strip()}"


def written_inventory(settings: Any) -> Path:
    """The inventory of a lab of another name, as the standard lab's but for where it is, written beside its keys."""
    (variables,) = yaml.safe_load((STANDARD / "hosts.yml").read_text())["orquestrador"]["hosts"].values()
    group = yaml.safe_load((STANDARD / "group_vars" / "orquestrador" / "main.yml").read_text())
    place = {
        "ansible_port": settings.ssh_port,
        "app_public_url": f"http://127.0.0.1:{settings.app_port}/api/health",
        "ansible_ssh_private_key_file": str(settings.key),
        "ansible_ssh_common_args": (
            "-o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null"
            f" -o 'UserKnownHostsFile=\"{settings.known_hosts}\"'"
        ),
    }
    hosts = {"orquestrador": {"hosts": {settings.name: {**variables, **group, **place}}}}
    folder: Path = settings.state
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts, sort_keys=False), encoding="utf-8")
    return folder / "hosts.yml"


def ready() -> Lab:
    """The lab, up and bootstrapped; where it is so already, this changes nothing."""
    # Shows by itself how far it is, and why it can't go on.
    up = [str(ROOT / "molecule/shared/lab.sh"), "up"]
    if subprocess.run(up, cwd=ROOT, stderr=subprocess.STDOUT, check=False, timeout=900).returncode:
        raise CannotMeasureError("the lab is not up: what it lacks stands above")
    lab = Lab()
    lab.run(f"{FREE_LEASE}; {MANY_LOGINS}")
    say("\nBootstrap of the lab")
    bootstrap = ["ansible-playbook", "playbooks/setup/bootstrap.yml", "--vault-password-file", str(lab.vault_password)]
    timed(bootstrap, dict(os.environ), LATEST.parent / "bootstrap.log")
    return lab
