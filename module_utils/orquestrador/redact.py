"""Secrets kept out of everything that leaves a host: skeleton of the public interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def load_secrets(env_path: str) -> list[str]:
    """Values of a ``.env`` file that are secrets, longest first; unreadable or missing gives an empty list."""
    raise NotImplementedError


def scrub(value: Any, secrets: Sequence[str]) -> Any:
    """``value`` (JSON) with every secret replaced by ``***``; a copy."""
    raise NotImplementedError
