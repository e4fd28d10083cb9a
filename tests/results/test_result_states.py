from __future__ import annotations

import pytest

from gateway.errors import Refused
from gateway.results.states import OPEN_STATES, TRANSITIONS, Event, State, after

# Written again by hand: a changed table must be a decision, not an accident.
EXPECTED = {
    # CLAIM DELIVER POSTPONE FAIL INTERRUPT RETRY COMMIT RESEND DISOWN
    "PENDING": ["SENDING", "DELIVERED", "WAITING", "FAILED", *[None] * 5],
    "SENDING": [None, "DELIVERED", "WAITING", "FAILED", "PENDING", *[None] * 4],
    "DELIVERED": [*[None] * 6, "COMMITTED", "WAITING", "FAILED"],
    "COMMITTED": [*[None] * 7, "WAITING", None],
    "WAITING": ["SENDING", "DELIVERED", "WAITING", "FAILED", None, "PENDING", *[None] * 3],
    "FAILED": [*[None] * 5, "PENDING", "COMMITTED", None, None],
}
CELLS = [(s, e, EXPECTED[s][i]) for s in State for i, e in enumerate(Event)]


@pytest.mark.parametrize(("state", "event", "expected"), CELLS)
def test_every_cell(state: State, event: Event, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(Refused, match=state):
            after(state, event)
    else:
        assert after(state, event) == expected


def test_the_table_has_no_other_cells() -> None:
    assert len(TRANSITIONS) == sum(cell is not None for _, _, cell in CELLS)


def test_states_that_end_nothing_more_are_not_open() -> None:
    assert {State.PENDING, State.SENDING, State.WAITING} == OPEN_STATES
