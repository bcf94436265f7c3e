"""Errors of the controller: of what kind they are, and what they say."""

from __future__ import annotations

import pytest

from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import msg
from orquestrador_ops.adapters.fetch import FetchError
from orquestrador_ops.core.errors import HistoryError, SlaError, reason_of
from orquestrador_ops.incidents.maintenance import WindowError
from orquestrador_ops.incidents.matrix import ChannelsError
from orquestrador_ops.incidents.store import IncidentError

SAID = msg("{path} can't be read:\nlook at it", path="/x")


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (HistoryError, OSError),
        (SlaError, ValueError),
        (WindowError, ValueError),
        (ChannelsError, ValueError),
        (IncidentError, ValueError),
        (FetchError, OperatorError),
    ],
)
def test_every_error_is_one_line_and_can_be_translated(kind: type[OperatorError], base: type[Exception]) -> None:
    error = kind(SAID)
    assert isinstance(error, base)
    assert str(error) == "/x can't be read: look at it"
    assert reason_of(error) == error.message == SAID


def test_what_any_other_error_says_is_its_text() -> None:
    assert reason_of(OSError("no space")) == "no space"
