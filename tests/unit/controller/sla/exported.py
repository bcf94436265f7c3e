"""What the exported files say, read back."""

from __future__ import annotations

import json
from typing import Any

import yaml


def expressions(dashboard: str) -> list[str]:
    """Every PromQL expression of a dashboard, with Grafana's variables still in it."""
    return [target["expr"] for panel in json.loads(dashboard)["panels"] for target in panel.get("targets", ())]


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML file, OpenSLO's for instance."""
    return [dict(document) for document in yaml.safe_load_all(text)]
