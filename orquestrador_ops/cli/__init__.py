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
    from ..errors import HistoryError  # noqa: PLC0415
    from . import words  # noqa: PLC0415

    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    as_json = "--json" in given
    try:
        return _run(given)
    except words.Refused as refused:
        return words.fail(refused, as_json=as_json)
    except HistoryError as error:
        return words.fail(words.Refused(error.message, 1), as_json=as_json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _hushed()
    except OSError as error:
        return words.fail(words.Refused({"text": str(error), "args": {}}, 1), as_json=as_json)
    except Exception as error:
        if os.environ.get("OPS_DEBUG"):
            raise
        said = {"text": "internal error: {reason}: set OPS_DEBUG=1 to see more", "args": {"reason": repr(error)}}
        return words.fail(words.Refused(said, 70), as_json=as_json)


def _run(given: list[str]) -> int:
    from .app import app  # noqa: PLC0415

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
    from .progress import hush  # noqa: PLC0415

    hush(sys.stdout)
    return 0
