"""Work in a process of its own: its result, its failures, its end."""

from __future__ import annotations

import os
import pwd
import time

import pytest

from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import msg, plain
from orquestrador.system.identity import Owner
from orquestrador.system.isolate import apart


@pytest.fixture
def owner() -> Owner:
    return Owner(pwd.getpwuid(os.geteuid()).pw_name)


def test_the_result_comes_back_from_another_process(owner: Owner) -> None:
    told = apart(owner, lambda: {"pid": os.getpid(), "uids": list(os.getresuid())}, 5)
    assert told["pid"] != os.getpid()
    assert told["uids"] == [owner.uid] * 3


def test_what_it_raises_is_raised_here(owner: Owner) -> None:
    def work() -> dict[str, object]:
        raise OperatorError(msg("no {what}", what="luck"))

    with pytest.raises(OperatorError) as raised:
        apart(owner, work, 5)
    assert plain(raised.value.message) == "no luck"


def test_one_that_hangs_is_ended_with_what_it_started(owner: Owner) -> None:
    def work() -> dict[str, object]:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        time.sleep(60)
        return {}

    began = time.monotonic()
    with pytest.raises(OperatorError, match="did not end within"):
        apart(owner, work, 0.5)
    assert time.monotonic() - began < 5


def test_one_that_dies_is_no_result(owner: Owner) -> None:
    with pytest.raises(OperatorError, match="without a word"):
        apart(owner, lambda: os._exit(3), 5)
