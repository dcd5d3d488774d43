"""Bulk actions by state: which are offered, for how many jobs, and what they send."""

from __future__ import annotations

import pytest

from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.jobs.listings import STATUS_NAMES
from flask_forge_jobs.dashboard.jobs.offers import VERBS, number_of, offers
from flask_forge_jobs.model.bulk import APPLIES_TO
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.ordering import StatusCounts

ALL = StatusCounts(
    pending=30, scheduled=10, in_progress=4, done=500, failed=7, dead=900
)
EVERYTHING = frozenset(Permission)


def offered(
    chosen: tuple[str, ...],
    counts: StatusCounts = ALL,
    may: frozenset[Permission] = EVERYTHING,
) -> dict[str, tuple[tuple[str, ...], int, int]]:
    return {
        str(offer.verb.action): (offer.statuses, offer.number, offer.others)
        for offer in offers(chosen, counts, may)
    }


def test_without_a_state_each_action_names_those_that_it_applies_to() -> None:
    assert offered(()) == {
        "retry": (("failed", "dead"), 907, 534),
        "run_now": (("scheduled", "failed"), 17, 1424),
        "reschedule": (("pending", "failed"), 37, 1404),
        "cancel": (("pending", "in_progress", "failed"), 41, 1400),
        "delete": (("pending", "failed", "dead", "done"), 1437, 4),
    }


@pytest.mark.parametrize(
    ("chosen", "counts", "expected"),
    [
        (
            ("dead",),
            StatusCounts(dead=9),
            {"retry": (("dead",), 9, 0), "delete": (("dead",), 9, 0)},
        ),
        (
            ("in_progress",),
            StatusCounts(in_progress=4),
            {"cancel": (("in_progress",), 4, 0)},
        ),
        (
            ("pending",),
            StatusCounts(pending=30, scheduled=10),
            {
                "run_now": (("scheduled",), 10, 20),
                "reschedule": (("pending",), 30, 0),
                "cancel": (("pending",), 30, 0),
                "delete": (("pending",), 30, 0),
            },
        ),
        (
            ("scheduled",),
            StatusCounts(pending=10, scheduled=10),
            dict.fromkeys(
                ("run_now", "reschedule", "cancel", "delete"), (("scheduled",), 10, 0)
            ),
        ),
        (("done",), StatusCounts(done=5), {"delete": (("done",), 5, 0)}),
        (("dead",), StatusCounts(), {}),
    ],
)
def test_a_state_has_its_own_actions(
    chosen: tuple[str, ...],
    counts: StatusCounts,
    expected: dict[str, tuple[tuple[str, ...], int, int]],
) -> None:
    assert offered(chosen, counts) == expected


def test_an_unknown_number_is_not_offered() -> None:
    counts = StatusCounts(pending=30, scheduled=None)

    assert set(offered(("pending",), counts)) == {"reschedule", "cancel", "delete"}


def test_a_caller_gets_only_actions_with_a_permission() -> None:
    may = frozenset({Permission.READ, Permission.JOBS_RETRY})

    assert set(offered((), may=may)) == {"retry", "run_now", "reschedule"}
    assert offered((), may=frozenset({Permission.READ})) == {}


@pytest.mark.parametrize(
    ("chosen", "counts", "action", "is_typed"),
    [
        (("dead",), StatusCounts(dead=100), "delete", False),
        (("dead",), StatusCounts(dead=101), "delete", True),
        (("dead",), StatusCounts(dead=101), "retry", True),
        (("failed", "dead"), StatusCounts(dead=1, failed=1), "retry", False),
        (("failed", "dead"), StatusCounts(dead=1, failed=1), "delete", True),
        ((), StatusCounts(done=2), "delete", True),
    ],
)
def test_a_large_number_and_a_wide_delete_are_typed(
    chosen: tuple[str, ...], counts: StatusCounts, action: str, *, is_typed: bool
) -> None:
    (offer,) = (
        each
        for each in offers(chosen, counts, EVERYTHING)
        if str(each.verb.action) == action
    )

    assert offer.needs_typing is is_typed


def test_no_action_is_offered_that_the_handler_would_skip() -> None:
    for verb in VERBS.values():
        stored = {str(status) for status in APPLIES_TO[verb.action]}
        assert {"pending" if s == "scheduled" else s for s in verb.statuses} <= stored
    assert str(JobStatus.IN_PROGRESS) not in VERBS["delete"].statuses


def test_the_tabs_add_up() -> None:
    numbers = [number_of(word, ALL) for word in STATUS_NAMES]

    assert numbers == [20, 10, 4, 7, 900, 500]
    assert number_of("pending", StatusCounts(pending=5, scheduled=None)) is None
