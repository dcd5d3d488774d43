from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers import cursors
from flask_forge_jobs.handlers.cursors import (
    MAX_CURSOR_LENGTH,
    from_cursor,
    from_text_cursor,
    from_walk_cursor,
    to_cursor,
    to_text_cursor,
    to_walk_cursor,
)
from flask_forge_jobs.model import bulk
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.model.ordering import JobOrder, Position, SortColumn

NEWEST = JobOrder()
STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
END = Position(1_790_000_000_000_000, "01K5A4D3E4F5G6H7J8K9M0N1P2")
WANTED = JobFilter(queues=("a", "b"), statuses=(JobStatus.DONE,))


@given(
    key=st.integers(-(2**62), 2**62),
    job_id=st.text(STORABLE, min_size=1, max_size=64),
    is_unfinished=st.booleans(),
)
def test_a_cursor_comes_back_as_the_place_it_stands_for(
    key: int, job_id: str, *, is_unfinished: bool
) -> None:
    place = Position(key, job_id, is_unfinished=is_unfinished)

    text = to_cursor(place, WANTED, NEWEST)

    assert from_cursor(text, WANTED, NEWEST) == place
    assert len(text) <= MAX_CURSOR_LENGTH
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()


def test_the_order_within_a_list_means_nothing() -> None:
    turned = JobFilter(queues=["b", "a"], statuses=[JobStatus.DONE])

    assert from_cursor(to_cursor(END, WANTED, NEWEST), turned, NEWEST) == END


@pytest.mark.parametrize(
    "other",
    [
        JobFilter(),
        JobFilter(queues=("a",), statuses=(JobStatus.DONE,)),
        JobFilter(queues=("a", "b"), statuses=(JobStatus.DEAD,)),
        JobFilter(queues=("a", "b"), statuses=(JobStatus.DONE,), scheduled=True),
        JobFilter(queues=("a", "b"), statuses=(JobStatus.DONE,), min_attempts=1),
        JobFilter(kinds=("a", "b"), statuses=(JobStatus.DONE,)),
        JobFilter(
            queues=("a", "b"),
            statuses=(JobStatus.DONE,),
            enqueued_from=datetime(2026, 1, 1, tzinfo=UTC),
        ),
    ],
)
def test_a_cursor_of_another_filter_is_refused(other: JobFilter) -> None:
    with pytest.raises(InvalidInputError) as caught:
        from_cursor(to_cursor(END, WANTED, NEWEST), other, NEWEST)
    assert caught.value.field == "cursor"


@pytest.mark.parametrize(
    "other", [JobOrder(descending=False), JobOrder(SortColumn.PRIORITY)]
)
def test_a_cursor_of_another_order_is_refused(other: JobOrder) -> None:
    with pytest.raises(InvalidInputError):
        from_cursor(to_cursor(END, WANTED, NEWEST), WANTED, other)


def test_a_changed_cursor_is_refused() -> None:
    text = to_cursor(END, WANTED, NEWEST)

    for index, letter in enumerate(text):
        changed = text[:index] + ("A" if letter != "A" else "B") + text[index + 1 :]
        with pytest.raises(InvalidInputError):
            from_cursor(changed, WANTED, NEWEST)


@given(st.text(max_size=80))
def test_any_text_is_refused_politely(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        from_cursor(text, WANTED, NEWEST)
    assert caught.value.field == "cursor"


@pytest.mark.parametrize("text", ["", "=", "é", "A" * 5000, "\x00", "AAAA===="])
def test_text_that_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        from_cursor(text, WANTED, NEWEST)


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
    min_size=1,
    max_size=128,
)


@given(
    status=st.sampled_from(JobStatus),
    queue_name=NAMES,
    kind=NAMES,
    at_us=st.integers(0, 2**62),
)
def test_a_cursor_of_a_walk_comes_back_as_its_position(
    status: JobStatus, queue_name: str, kind: str, at_us: int
) -> None:
    position = bulk.WalkPosition(status, queue_name, kind, at_us, "x" * 64)

    text = to_walk_cursor(position, JobAction.DELETE, WANTED)

    found = from_walk_cursor(text, JobAction.DELETE, WANTED)
    assert found == position
    assert found.status is status
    assert len(text) <= MAX_CURSOR_LENGTH


def test_a_cursor_of_another_walk_is_refused() -> None:
    position = bulk.WalkPosition(JobStatus.DEAD, "q", "k", 5, "x")
    text = to_walk_cursor(position, JobAction.DELETE, WANTED)

    for action, wanted in ((JobAction.RETRY, WANTED), (JobAction.DELETE, JobFilter())):
        with pytest.raises(InvalidInputError) as caught:
            from_walk_cursor(text, action, wanted)
        assert caught.value.field == "cursor"
    with pytest.raises(InvalidInputError):
        from_cursor(text, WANTED, NEWEST)


def test_a_cursor_of_ids_is_good_for_these_ids_only() -> None:
    text = to_text_cursor("b", ["retry", "a", "b", "c"])

    assert from_text_cursor(text, ["retry", "a", "b", "c"]) == "b"
    for binding in (["retry", "a", "b"], ["cancel", "a", "b", "c"]):
        with pytest.raises(InvalidInputError):
            from_text_cursor(text, binding)


@pytest.mark.parametrize(
    "place",
    [
        {"key": 1},
        [1],
        [1, "id"],
        ["1", "id", False],
        [1, 2, False],
        [True, "id", False],
        [1.5, "id", False],
        [2**63, "id", False],
        [1, "nul \0", False],
        [1, "half \ud800", False],
        [None, "id", False],
    ],
    ids=repr,
)
def test_a_forged_place_is_refused_though_its_checksum_is_right(place: object) -> None:
    raw = json.dumps(place).encode()
    binding = cursors._of_page(WANTED, NEWEST)
    text = cursors._encoded(cursors._checksum(raw, binding) + raw)

    with pytest.raises(InvalidInputError, match="not a cursor of this request"):
        from_cursor(text, WANTED, NEWEST)


def test_a_forged_state_is_refused_though_its_checksum_is_right() -> None:
    raw = json.dumps(["unknown", "q", "k", 1, "id"]).encode()
    binding = cursors._of_walk(JobAction.RETRY, WANTED)
    text = cursors._encoded(cursors._checksum(raw, binding) + raw)

    with pytest.raises(InvalidInputError, match="not a cursor of this request"):
        from_walk_cursor(text, JobAction.RETRY, WANTED)
