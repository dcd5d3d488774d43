"""Which runs a death explains, however late their claim was stored."""

from __future__ import annotations

import pytest

from tests.acceptance.checker import SECOND_NS
from tests.acceptance.ledger import Failure, FinalRow, Kill, Run, StoredAttempt
from tests.acceptance.rescues import deaths, with_late_claims

DIED_S = 10
SEEN, LATE = ("job", 1), ("job", 2)


def rescued(run: Run, worker_id: str | None, at_s: float) -> FinalRow:
    job_id, attempt = run
    failure = Failure(attempt, int(at_s * SECOND_NS), is_reaped=True)
    crashed = StoredAttempt(attempt, attempt, "crashed", worker_id, 0, 1)
    return FinalRow(
        job_id, "done", attempt + 1, 25, 1, failures=(failure,),
        stored_attempts=(crashed,),
    )  # fmt: skip


def death(worker_id: str | None = "dead") -> Kill:
    return Kill(7, worker_id, DIED_S * SECOND_NS, frozenset({SEEN}))


def test_a_claim_that_was_stored_after_the_death_belongs_to_it() -> None:
    rows = [rescued(LATE, "dead", DIED_S + 3)]

    (kill,) = with_late_claims([death()], rows)

    assert kill.held == {SEEN, LATE}


@pytest.mark.parametrize(
    ("worker_id", "at_s"), [("alive", DIED_S + 3), (None, 99), ("dead", DIED_S - 1)]
)
def test_no_other_rescue_belongs_to_a_death(worker_id: str | None, at_s: float) -> None:
    """Of a worker that lives, of nobody, or before the death."""
    kills = [death(), death(None)]

    assert with_late_claims(kills, [rescued(LATE, worker_id, at_s)]) == kills


def test_a_run_that_was_not_rescued_belongs_to_no_death() -> None:
    failed = Failure(2, (DIED_S + 3) * SECOND_NS, is_reaped=False)
    attempt = StoredAttempt(2, 2, "failed", "dead", 0, 1)
    row = FinalRow(
        "job", "done", 3, 25, 0, failures=(failed,), stored_attempts=(attempt,)
    )

    assert with_late_claims([death()], [row]) == [death()]


def test_a_stall_is_no_death() -> None:
    stall = Kill(7, "dead", DIED_S * SECOND_NS, resumed_ns=DIED_S * SECOND_NS + 1)

    assert with_late_claims([stall], [rescued(LATE, "dead", DIED_S + 3)]) == [stall]
    assert deaths([stall, death(), death(None)]) == {"dead": DIED_S * SECOND_NS}
