"""The ``runbook`` command: the project's procedures on an operator's terminal, over ansible-runner.

Everything dear is imported where it is used: ``runbook --help`` has to be there at once.
"""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit status. No failure ends in a traceback, unless ``OPS_DEBUG`` asks for one."""
    from . import words

    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        return _run(given)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _hushed()
    except Exception as error:
        if os.environ.get("OPS_DEBUG"):
            raise
        return words.fail(words.refused(error), as_json="--json" in given)


def _run(given: list[str]) -> int:
    from .app import app

    try:
        app(args=given, prog_name="runbook", standalone_mode=True)
    except SystemExit as end:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        return _hushed()
    return 0


def _hushed() -> int:
    """Nobody reads any more: nothing to say, and nothing to fail over at exit."""
    from .runner.progress import hush

    hush(sys.stdout)
    return 0
