"""Show the help of the command line, and fail when that loads what is dear."""

from __future__ import annotations

import sys

from orquestrador_ops import cli

try:
    cli.main(["--help"])
finally:
    dear = {"numpy", "sqlalchemy", "babel", "matplotlib", "prometheus_client", "rich.console"} & set(sys.modules)
    assert not dear, dear
