"""Every check, in the order in which a verdict lists them: module by module, and within one as it is written."""

from __future__ import annotations

from . import host, http, logs, mysql, pm2
from .registry import registered

CHECKS = tuple(one for module in (pm2, http, mysql, host, logs) for one in registered(module.__name__))
CHECK_IDS = tuple(one.id for one in CHECKS)
