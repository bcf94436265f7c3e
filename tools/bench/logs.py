"""Archives of logs that are written at 5,000 lines a second: lost and duplicated lines."""

from __future__ import annotations

import json
import secrets
import statistics
import time
from pathlib import Path

from tools.bench.common import environment, say, table, timed
from tools.bench.lab import Lab

SECONDS, ARCHIVES = 60, 3
# Instances under PM2 and lines a second of each: the daemon writes for a process in fork mode, a worker in cluster mode
# for itself, and each drops lines in a way of its own when it reopens its logs. Without dates before the lines: where a
# daemon that lags behind reads half a line, PM2 puts a date before the second half and throws the first one away.
WRITERS = {"fork": (1, 5000), "cluster": (2, 500)}
WRITER = r"""
const [, , mark, total, rate] = process.argv, started = Date.now(), who = process.env.NODE_APP_INSTANCE || '0';
let i = 0;
(function write() {
  const due = Math.min(total, Math.floor(((Date.now() - started) / 1000) * rate));
  while (i < due) console.log(`${mark} ${who} ${(i += 1)}`);
  if (i < total) setTimeout(write, 5);
  else require('fs').writeFileSync(`/tmp/${mark}-${who}.done`, '');
})();
setInterval(() => {}, 60000);
"""
COUNT = r"""
cd ~/webapp/logs
{ cat %(mark)s-*.log .%(mark)s-*.spool 2>/dev/null
  for file in archive/logs-*.tar.gz; do tar -xOzf "$file" --exclude=manifest.json; done
} | grep -E '^%(mark)s-[a-z]+ [0-9]+ [0-9]+$' | sort | uniq -c |
awk '{n += 1; twice += $1 - 1} END {print n + 0, twice + 0}'
"""


def bench_logs(lab: Lab, work: Path, _runs: int) -> dict[str, float]:
    """Run writers beside the application, archive ``ARCHIVES`` times, count every number that was written."""
    mark = f"bench{secrets.token_hex(3)}"
    state = work / "logs-state"
    seconds: list[float] = []
    lab.run(f"cat > /tmp/{mark}.cjs", WRITER.encode())
    for name, (instances, rate) in WRITERS.items():
        mode = f"-i {instances}" if instances > 1 else ""
        log = f"~/webapp/logs/{mark}-{name}"
        lab.run(
            f"pm2 start /tmp/{mark}.cjs --name {mark}-{name} {mode} --merge-logs -o {log}.log -e {log}-error.log"
            f" -- {mark}-{name} {rate * SECONDS} {rate} >/dev/null",
        )
    started = time.monotonic()
    for number in range(ARCHIVES):
        time.sleep(max(0.0, started + SECONDS * (number + 1) / (ARCHIVES + 1) - time.monotonic()))
        playbook = ["ansible-playbook", "playbooks/operation/archive_logs.yml"]
        env = environment(work, OPS_STATE_DIR=str(state))
        seconds.append(timed(playbook, env, work / f"archive-{number}.log"))
        say(f"  archive {number + 1} of {ARCHIVES}: {seconds[-1]:.2f} s")
    expected = sum(instances for instances, _ in WRITERS.values())
    lab.run(f"until [ $(ls /tmp/{mark}-*.done 2>/dev/null | wc -l) = {expected} ]; do sleep 0.5; done; sleep 1")
    counted, duplicates = map(int, lab.run(COUNT % {"mark": mark}).split())
    total = sum(instances * rate * SECONDS for instances, rate in WRITERS.values())
    evidence = [_evidence(path) for path in sorted(state.rglob("archive_logs-*.json")) if not path.is_symlink()]
    inside = [float(counted["duration_s"]) for counted in evidence]
    figures = {
        "log_lines_written": float(total),
        "log_lines_lost": float(total - counted),
        "log_lines_duplicated": float(duplicates),
        "log_lines_put_back": float(sum(item["lines_put_back"] for item in evidence)),
        "log_archive_s": statistics.median(seconds),
        "log_archive_on_host_s": statistics.median(inside),
    }
    say()
    table([("logs, archived while written", "figure"), *((name, f"{value:.2f}") for name, value in figures.items())])
    return figures


def _evidence(path: Path) -> dict[str, float]:
    steps = json.loads(path.read_text(encoding="utf-8"))["record"]["steps"]
    evidence: dict[str, float] = next(step["evidence"] for step in steps if step["id"] == "logs_archive")
    return evidence
