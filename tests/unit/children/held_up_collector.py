"""Look as nobody with a collector that is held up beyond its time, and print what became of it."""

from __future__ import annotations

import codecs
import json
import os
import socket
import sys
import time

from orquestrador.emergency.context import Scene
from orquestrador.health import collect
from orquestrador_ops.adapters import emergency as emergencies

for name in ("ascii", "idna"):  # nobody may be unable to load what this Python has not loaded yet
    codecs.lookup(name)
place, go = sys.argv[1], sys.argv[1] + "/go"


def held_up(self, seconds):
    with open(place + "/began", "w"):
        pass
    while not os.path.exists(go):
        time.sleep(0.01)
    with open(place + "/went-on", "w") as file:
        file.write(str(os.geteuid()))


collect.Probe._logs = held_up
listener = socket.create_server(("127.0.0.1", 0))  # root's own, whose process nobody can't see
number = listener.getsockname()[1]
params, problem = emergencies.parameters(
    {
        "procedure": "auto",
        "budget_s": 30,
        "lease_path": place + "/lease.json",
        "lease_run_id": "r",
        "lease_owner": "o",
        "app_ecosystem_file": place + "/eco.cjs",
        "pm2_unit": "no-such-unit",
        "dist": place + "/dist",
        "build_state_dir": place + "/builds",
        "probe": {
            "app_name": "app",
            "app_user": "nobody",
            "app_dir": place,
            "app_port": number,
            "pm2_home": place + "/pm2",
            "app_health_url": "http://127.0.0.1:1/",
            "mysql_defaults_file": place + "/my.cnf",
            "mysql_database": "app",
            "log_globs": [place + "/*.log"],
            "collector_timeout": 1,
            "timeout": 4,
        },
    }
)
assert problem is None, problem
scene = Scene(params, check_mode=True)
scene.look()
told = [finding["code"] for finding in scene.snapshot["errors"] if finding["collector"] == "logs"]
open(go, "w").close()
time.sleep(0.5)  # one that goes on would by now
holds = scene.snapshot["port"]["pid"] == os.getpid()
print(json.dumps({"told": told, "uids": os.getresuid(), "left": sorted(os.listdir(place)), "holder seen": holds}))
