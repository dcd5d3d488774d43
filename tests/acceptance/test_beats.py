"""Which runs a gap between two heartbeats explains, and that it explains no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.beats import lapses, read_beats
from tests.acceptance.checker import SECOND_NS, Checker
from tests.acceptance.ledger import (
    Evidence,
    Failure,
    FinalRow,
    Kill,
    Line,
    StoredAttempt,
)

LEASE_S, RESCUED_S = 2, 14
RUN = ("job", 1)


def beats_at(*times_s: float) -> dict[str, list[tuple[int, int]]]:
    """Each takes a tenth of a second."""
    pairs = [(t * SECOND_NS, (t + 0.1) * SECOND_NS) for t in times_s]
    return {"busy/7": [(int(began_ns), int(ended_ns)) for began_ns, ended_ns in pairs]}


def rescued() -> FinalRow:
    """A job whose first run was taken away from the busy worker."""
    attempts = [
        StoredAttempt(1, 1, "crashed", "busy", 0, 1),
        StoredAttempt(2, 2, "done", "other", 2, 3),
    ]
    failure = Failure(1, RESCUED_S * SECOND_NS, is_reaped=True)
    return FinalRow(
        "job", "done", 2, 25, 1, failures=(failure,), result_host="other",
        result_attempt=2, claims=2, stored_attempts=tuple(attempts),
    )  # fmt: skip


def found(
    *times_s: float, ends_s: dict[int, int] | None = None, **options: object
) -> list[Kill]:
    ends = {pid: at_s * SECOND_NS for pid, at_s in (ends_s or {}).items()}
    options |= {"lease_ns": LEASE_S * SECOND_NS}
    return list(lapses([rescued()], beats_at(*times_s), ends, **options))  # type: ignore[arg-type]


def test_a_run_is_lost_in_a_gap_of_a_lease() -> None:
    (lapse,) = found(10, 12, 15)

    assert lapse == Kill(
        7, "busy", 12 * SECOND_NS, frozenset({RUN}), resumed_ns=int(15.1 * SECOND_NS)
    )


@pytest.mark.parametrize("times_s", [(), (10,), (10, 12), (12.5, 14.3), (14.5, 19)])
def test_other_gaps_explain_nothing(times_s: tuple[float, ...]) -> None:
    """Too short, over before, begun after, or without an end."""
    assert found(*times_s) == []


def test_a_run_of_a_worker_that_was_killed_has_its_reason() -> None:
    assert found(10, 15, explained=[RUN]) == []


def test_a_worker_that_gives_up_is_silent_until_its_end() -> None:
    assert [each.resumed_ns for each in found(10, 12, ends_s={7: 16})] == [
        16 * SECOND_NS
    ]
    assert found(10, 12, ends_s={8: 16}) == []


def test_a_worker_may_have_lost_its_lease_before_it_was_killed() -> None:
    died_at = {"busy": 16 * SECOND_NS}
    (lapse,) = found(10, 12, died_at=died_at)

    assert (lapse.at_ns, lapse.resumed_ns) == (12 * SECOND_NS, 16 * SECOND_NS)
    assert found(10, 12, died_at={"busy": 13 * SECOND_NS}) == []
    assert found(10, 12, died_at={"other": 16 * SECOND_NS}) == []


def test_the_checker_takes_a_lapse_for_a_stall() -> None:
    lines = [
        Line("S", "job", 1, "busy", 7, 11 * SECOND_NS),
        Line("S", "job", 2, "other", 8, 15 * SECOND_NS),
        Line("E", "job", 2, "other", 8, 16 * SECOND_NS),
        Line("E", "job", 1, "busy", 7, 17 * SECOND_NS),
    ]
    evidence = Evidence(rows=[rescued()], lines=lines)

    assert list(Checker(evidence).at_most_once())
    assert list(Checker(evidence).no_overlap())
    evidence.lapses += found(10, 12, 15)
    assert list(Checker(evidence).at_most_once()) == []
    assert list(Checker(evidence).no_overlap()) == []
    assert [line.run for line in Checker(evidence).late_ends()] == [RUN]


def test_beats_are_read_by_process(tmp_path: Path) -> None:
    path = tmp_path / "beats"
    assert read_beats(path) == {}

    path.write_text("a/1 5 6\nb/2 7 8\na/1 9 9\n", "ascii")

    assert read_beats(path) == {"a/1": [(5, 6), (9, 9)], "b/2": [(7, 8)]}
