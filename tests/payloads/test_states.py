"""Every cell of the payload's state table."""

from __future__ import annotations

import pytest

from gateway.errors import Refused
from gateway.payloads.states import TRANSITIONS, Event, State, step


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_cell(state: State, event: Event) -> None:
    after = TRANSITIONS.get((state, event))
    if after is None:
        with pytest.raises(Refused, match=f"in state {state} cannot {event}"):
            step(state, event)
    else:
        assert step(state, event) is after


def test_deleted_is_the_end() -> None:
    assert not [key for key in TRANSITIONS if key[0] is State.DELETED]


def test_every_state_can_be_reached_and_left() -> None:
    reached = set(TRANSITIONS.values()) | {State.RECEIVING, State.QUARANTINED}
    assert reached == set(State)
    assert {s for s, _ in TRANSITIONS} == set(State) - {State.DELETED}
