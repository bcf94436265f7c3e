"""Pictures of the README, from a daily run on the lab: the terminal as SVG, the report as PNG (needs chromium)."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
PLAYBOOK = "playbooks/routine/daily.yml"
LOCALES = {"en": "", "pt_BR": ".pt-BR"}  # of the catalog, and the ending of the README's name
COLUMNS = 124


def main(options: list[str]) -> int:
    """Run the daily routine once per language and draw its output; ``options`` go to ansible-playbook."""
    PICTURES.mkdir(exist_ok=True)
    for locale, ending in LOCALES.items():
        with tempfile.TemporaryDirectory() as state:
            command = ["ansible-playbook", PLAYBOOK, "-e", f"ops_locale={locale}"]
            shown = run([*command, *options], state)
            draw_terminal(f"$ {' '.join(command)}\n{shown}", PICTURES / f"daily{ending}.svg")
            report = next(Path(state).glob("reports/*/latest-daily.html"))
            draw_report(report, PICTURES / f"report{ending}.png")
    return 0


def run(command: list[str], state: str) -> str:
    """Run a command and return its output in colour, also of a failed routine: the lab may be unhealthy."""
    env = {**os.environ, "OPS_STATE_DIR": state, "ANSIBLE_FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
    printed = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    # Hides the temporary state directory.
    return printed.stdout.replace(state, "var").strip()


def draw_terminal(text: str, target: Path) -> None:
    """Draw a terminal; without the fonts that rich would load from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text))
    drawn = console.export_svg(title="Orquestrador Ops", unique_id="daily")
    drawn = re.sub(r"@font-face\s*{[^}]*}", "", drawn).replace("Fira Code", "DejaVu Sans Mono")
    target.write_text("\n".join(line.rstrip() for line in drawn.splitlines()) + "\n", encoding="utf-8")


def draw_report(report: Path, target: Path) -> None:
    """Draw a report as a browser shows it."""
    page = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,900"]
    subprocess.run(
        ["chromium", *page, f"--screenshot={target}", report.resolve().as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
