from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.filters import IN_BODY, IN_QUERY, checked_filter
from flask_forge_jobs.model.jobs import JobFilter, JobStatus

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  # the case under test
EARLY = datetime(1969, 1, 1, tzinfo=UTC)


def with_words(*words: str) -> JobFilter:
    return JobFilter(statuses=words)  # type: ignore[arg-type]  # as a client sends them


def test_scheduled_is_a_word_for_pending_jobs_of_later() -> None:
    checked = checked_filter(with_words("scheduled", "dead", "dead"), IN_BODY)

    assert checked == JobFilter(statuses=(JobStatus.DEAD,), scheduled=True)


def test_scheduled_beside_pending_says_nothing_more() -> None:
    checked = checked_filter(with_words("pending", "scheduled"), IN_BODY)

    assert checked == JobFilter(statuses=(JobStatus.PENDING,))


def test_names_are_taken_once_and_searches_without_blanks() -> None:
    wanted = JobFilter(
        queues=["b", "a", "b"], kinds=["k", "k"], payload_search=" x y ",
        error_search="  ",
    )  # fmt: skip

    assert checked_filter(wanted, IN_QUERY) == JobFilter(
        queues=("b", "a"), kinds=("k",), payload_search="x y"
    )


@pytest.mark.parametrize(
    ("wanted", "in_body", "in_query"),
    [
        (JobFilter(queues=["a", ""]), "filter.queues[1]", "queue"),
        (JobFilter(kinds=["\x00"]), "filter.kinds[0]", "kind"),
        (JobFilter(kinds=["k"] * 1001), "filter.kinds", "kind"),
        (with_words("pending", "later"), "filter.statuses", "status"),
        (JobFilter(enqueued_from=NAIVE), "filter.from", "from"),
        (JobFilter(enqueued_to=EARLY), "filter.to", "to"),
        (JobFilter(payload_search="x"), "filter.payload_search", "q"),
        (JobFilter(error_search="x" * 257), "filter.error", "error"),
        (JobFilter(min_attempts=1001), "filter.min_attempts", "min_attempts"),
    ],
)
def test_a_fault_is_named_as_the_route_names_it(
    wanted: JobFilter, in_body: str, in_query: str
) -> None:
    for names, field in ((IN_BODY, in_body), (IN_QUERY, in_query)):
        with pytest.raises(InvalidInputError) as caught:
            checked_filter(wanted, names)
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (JobFilter(dedupe_key=""), "dedupe_key"),
        (JobFilter(dedupe_key="x" * 256), "dedupe_key"),
        (JobFilter(slot_id="\x00"), "slot_id"),
        (JobFilter(schedule_name=""), "cron"),
    ],
)
def test_exact_values_have_bounds(wanted: JobFilter, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        checked_filter(wanted, IN_QUERY)
    assert caught.value.field == field


def test_the_ends_of_a_range_are_in_order() -> None:
    late = datetime(2026, 1, 2, tzinfo=UTC)
    early = datetime(2026, 1, 1, tzinfo=UTC)

    with pytest.raises(InvalidInputError, match="lies after to") as caught:
        checked_filter(JobFilter(enqueued_from=late, enqueued_to=early), IN_QUERY)
    assert caught.value.field == "from"
