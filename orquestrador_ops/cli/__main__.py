"""``python -m orquestrador_ops.cli``."""

import sys

from . import main

sys.exit(main())
