"""Make the project importable the way Ansible makes it importable.

``module_utils/`` is a flat directory, not a collection, so its true import name, the one the modules use, exists only
inside Ansible's payload. Extending ``ansible.module_utils.__path__`` gives the tests the very same name.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import ansible.module_utils

# Imported here, whole, so that the lean import of the database collector (without ``cryptography``) can't leave this
# test process with a PyMySQL that other tests expect to be complete.
import pymysql  # noqa: F401
from hypothesis import HealthCheck, settings

# Time says nothing of correctness on a machine whose two cores are busy with something else. The same commit is judged
# by the same examples each time; `make explore` draws others, and what it finds becomes an example of its test.
PATIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("project", **PATIENT, derandomize=True)
settings.register_profile(
    "explore", **PATIENT, derandomize=False, print_blob=True, max_examples=int(os.environ.get("EXAMPLES") or 1000)
)
settings.load_profile("project")

ROOT = Path(__file__).resolve().parents[2]

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
if str(ROOT / "module_utils") not in list(ansible.module_utils.__path__):
    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
