"""What the documentation tells an operator to type does what it says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "path", ["README.md", "README.pt-BR.md", "inventory/production/group_vars/orquestrador/main.yml"]
)
def test_generated_password_is_one_that_the_bootstrap_takes(path: str) -> None:
    """``openssl`` ends its line, and a line end in the password splits the credential file."""
    found = re.search(r"openssl rand .*?(?= \| ansible-vault)", (ROOT / path).read_text(encoding="utf-8"))
    assert found
    made = subprocess.run(["bash", "-c", found[0]], capture_output=True, text=True, timeout=20, check=True).stdout
    assert re.fullmatch(r"[A-Za-z0-9_.-]{16,}", made), repr(made)
