"""The backup of a database of a gigabyte and its proof, paired and interleaved with what an operator would type.

All of it on the host, at the same place: (a) ``mysqldump`` to nowhere, (b) ``mysqldump | gzip``, (c) the whole backup
(inspection, dump, counts and digests, zstd, age, sync, manifest), (d) ``mysql < dump.sql`` into a throwaway server that
is up and empty, (e) the whole proof (digest, start of a server like that, decryption, restore, dump again, comparison).
The dump has the same options everywhere. The database is made for this on the lab's server and dropped afterwards.
"""

from __future__ import annotations

import io
import json
import statistics
import tarfile
from pathlib import Path
from typing import Any

from tools.bench.common import ROOT, say, spread, table
from tools.bench.lab import Lab

SCHEMA = "orquestrador_bench"
SEED_ROWS = 26_000  # doubled five times: a dump of about 1.0 GB
DOUBLINGS = 5
LIMIT_S = 2400
GZIP_ROUNDS = 3
PROOF_ROUNDS = 3
_PROSE = """o modelo respondeu à pergunta do usuário com uma resposta longa que o orquestrador avaliou e depois enviou
ao treinamento the answer was don't cached because token limit of context window is 4096 and temperature 0.7 ação
conexão não está disponível tente novamente erro timeout {json} \\n " isn't prompt conversa projeto equipe tarefa"""
_WORDS = [text.replace("'", "''") for text in _PROSE.split()]
_RANDOM_WORD = "ELT(1 + FLOOR(RAND() * {}), '{}')".format(len(_WORDS), "', '".join(_WORDS))
_NOISE = "LOWER(CONV(FLOOR(RAND() * 3e9), 10, 36))"
_TEXT = "CONCAT_WS(' ', {})".format(", ".join([*[_RANDOM_WORD] * 5, _NOISE] * 16))


def statements() -> str:
    """Return the SQL that creates the database."""
    text = (ROOT / "tools" / "bench" / "backup.sql").read_text(encoding="utf-8")
    once, repeated = text.split("-- each time twice as much\n")
    text = once + repeated * DOUBLINGS
    replacements = {"schema": SCHEMA, "rows": str(SEED_ROWS), "text": _TEXT, "word": _RANDOM_WORD, "noise": _NOISE}
    for name, value in replacements.items():
        text = text.replace(f"@{name}@", value)
    return text


class Host:
    """Work on the host, over SSH."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.directory = self.run("mktemp -d /var/tmp/orquestrador-bench-XXXXXX").strip()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(ROOT / "module_utils" / "orquestrador", "orquestrador")
            archive.add(ROOT / "tools" / "bench" / "backup_host.py", "backup_host.py")
        self.run(f"tar -C {self.directory} -xf - && mkdir -m 700 {self.directory}/store", packed.getvalue())
        self.identity = next(line for line in self.run("age-keygen 2>/dev/null").splitlines() if line[0] != "#")
        self.recipient = self.run("age-keygen -y", self.identity.encode() + b"\n").strip()

    def run(self, command: str, input_: bytes = b"") -> str:
        """Run a command and return its output."""
        return self._lab.run(command, input_, limit_s=LIMIT_S)

    def measure(self, what: str) -> dict[str, Any]:
        """Run one measured piece of work; the private key goes through standard input."""
        task = {
            "what": what,
            "place": self.directory,
            "schema": SCHEMA,
            "defaults_file": "/home/flavio/.config/orquestrador-ops/mysql.cnf",
            "recipient": self.recipient,
            "identity": self.identity if what == "proof" else "",
        }
        answer: dict[str, Any] = json.loads(
            self.run(f"cd {self.directory} && python3 backup_host.py", json.dumps(task).encode())
        )
        say(f"  {what}: {answer['seconds']:.1f} s")
        return answer

    def clean(self) -> None:
        """Remove everything from the host."""
        undo = (
            f"REVOKE SELECT, SHOW VIEW, TRIGGER, EVENT ON {SCHEMA}.* FROM orquestrador_ops@localhost;"
            f" DROP DATABASE IF EXISTS {SCHEMA};"
        )
        self.run("sudo -n mysql --force", undo.encode())
        self.run(f"rm -rf {self.directory}")


def bench_backup(lab: Lab, _work: Path, runs: int) -> dict[str, float]:
    """Ratios are medians of pairs; the slow ones (gzip, proof) have fewer rounds."""
    host = Host(lab)
    try:
        say("  making a database of 1 GB")
        host.run("sudo -n mysql", statements().encode())
        answers: dict[str, list[dict[str, Any]]] = {}
        for number in range(runs):
            names = ["dump", "backup"]
            names += ["gzip"] if number < GZIP_ROUNDS else []
            names += ["file"] if number == 0 else []
            names += ["plain", "proof"] if number < PROOF_ROUNDS else []
            for name in names:
                answers.setdefault(name, []).append(host.measure(name))
    finally:
        host.clean()
    seconds = {name: [answer["seconds"] for answer in several] for name, several in answers.items()}

    def ratios(first: str, second: str) -> list[float]:
        return [a / b for a, b in zip(seconds[first], seconds[second], strict=False)]

    peak = max(answer["peak_mb"] for answer in answers["backup"])
    size, stored = answers["backup"][0]["dump"] / 1e6, answers["backup"][0]["bytes"] / 1e6
    say()
    table(
        [
            (f"a dump of {size:.0f} MB, stored as {stored:.0f} MB", "min s", "median s", "max s"),
            ("(a) mysqldump > /dev/null", *spread(seconds["dump"])),
            (f"(b) mysqldump | gzip ({answers['gzip'][0]['bytes'] / 1e6:.0f} MB)", *spread(seconds["gzip"])),
            ("(c) backup", *spread(seconds["backup"])),
            ("(d) mysql < dump.sql", *spread(seconds["plain"])),
            ("(e) proof", *spread(seconds["proof"])),
            ("(c)/(b), at most 0.40", *spread(ratios("backup", "gzip"))),
            ("(c)/(a), at most 1.45", *spread(ratios("backup", "dump"))),
            ("(e)/(d), at most 1.35", *spread(ratios("proof", "plain"))),
            ("memory of module, zstd and age in MB, at most 100", "", "", f"{peak:.0f}"),
        ]
    )
    return {
        "backup_s": statistics.median(seconds["backup"]),
        "backup_vs_gzip": statistics.median(ratios("backup", "gzip")),
        "backup_vs_dump": statistics.median(ratios("backup", "dump")),
        "backup_peak_mb": peak,
        "restore_proof_s": statistics.median(seconds["proof"]),
        "restore_proof_vs_plain": statistics.median(ratios("proof", "plain")),
    }
