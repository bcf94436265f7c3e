"""Keys of age, and a small application to back up."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

Keys = tuple[str, str]  # identity, recipient


@pytest.fixture(scope="session")
def keys() -> Keys:
    made = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True, timeout=30).stdout
    identity = made.splitlines()[-1]
    public = subprocess.run(
        ["age-keygen", "-y"], input=identity, capture_output=True, text=True, check=True, timeout=30
    )
    return identity, public.stdout.strip()


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An application with a secret, a hostile name and a link, and what a backup leaves out."""
    root = tmp_path / "app"
    (root / "src").mkdir(parents=True)
    (root / "node_modules").mkdir()
    (root / ".env").write_text("PASSWORD=hunter2secret\n")
    (root / "src" / "a\nb 'c\u202e").write_text("x" * 1000)
    (root / "src" / "link").symlink_to("../.env")
    (root / "node_modules" / "left-out.js").write_text("again")
    return root
