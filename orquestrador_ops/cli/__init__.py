"""The ``runbook`` command: the project's procedures on an operator's terminal, over ansible-runner.

Slow imports happen where they are used, because ``runbook --help`` must be quick.
"""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status. A failure prints a traceback only with ``OPS_DEBUG``."""
    from . import words

    argv = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _silence_output()
    except Exception as error:
        if os.environ.get("OPS_DEBUG"):
            raise
        return words.fail(words.command_error(error), as_json="--json" in argv)


def _run(argv: list[str]) -> int:
    from .app import app
    from .usage import command_of

    try:
        command_of(app)(args=argv, prog_name="runbook", standalone_mode=True)
    except SystemExit as end:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        return _silence_output()
    return 0


def _silence_output() -> int:
    """Discard further output: its reader is gone, and writing would fail at exit."""
    from .runner.progress import silence

    silence(sys.stdout)
    return 0
