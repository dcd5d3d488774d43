"""Confirmations: the number, the filter in words, and the request that follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flask_forge_jobs.api.schemas.bulk import ActionRequestSchema
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.jobs.listings import DEAD_JOBS, JOBS, Listing
from flask_forge_jobs.dashboard.jobs.offers import VERBS, offers
from flask_forge_jobs.dashboard.jobs.questions import (
    Question,
    about_matching,
    about_selected,
)
from flask_forge_jobs.handlers.filters import IN_BODY, checked_filter
from flask_forge_jobs.model.ordering import StatusCounts
from tests.dashboard.jobs.test_query import read

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
EVERY = (
    "queue=mail&kind=send&error=out&q=card&signature=s&cron=nightly&dedupe_key=k"
    "&min_attempts=3&ending=dead&last=24h"
)


def asked(
    action: str, text: str, counts: StatusCounts, listing: Listing = JOBS
) -> Question:
    query = read(text, listing)
    (offer,) = (
        each
        for each in offers(query.chosen_statuses, counts, frozenset(Permission))
        if each.verb.action == action
    )
    return about_matching(offer, query, query.job_filter(NOW))


def test_the_title_and_the_button_have_the_number() -> None:
    counts = StatusCounts(dead=1204, failed=297)
    delete = asked("delete", "status=failed&status=dead", counts)
    cancel = asked("cancel", "status=failed&status=dead", counts)

    assert delete.title == "Delete 1,501 jobs for good?"
    assert delete.answer == "Delete 1,501 jobs"
    assert (cancel.title, cancel.others) == ("Cancel 297 jobs?", 1204)
    assert asked("run_now", "", counts).title == "Run 297 jobs now?"
    assert asked("retry", "", StatusCounts(dead=1)).answer == "Retry 1 job"


@pytest.mark.parametrize("listing", [JOBS, DEAD_JOBS])
def test_the_request_has_exactly_the_filter_of_the_list(listing: Listing) -> None:
    question = asked("retry", EVERY, StatusCounts(dead=2), listing)
    query = read(EVERY, listing)

    loaded = ActionRequestSchema().load(dict(question.body))

    expected = query.job_filter(NOW)
    sent = checked_filter(loaded["job_filter"], IN_BODY)
    if listing is JOBS:
        assert set(map(str, sent.statuses)) == {"failed", "dead"}
        sent = replace(sent, statuses=())
    assert sent == expected
    assert loaded["is_all"] is None


def test_the_words_name_the_states_that_the_action_applies_to() -> None:
    question = asked("delete", "queue=mail&last=24h", StatusCounts(done=5, failed=1))

    assert question.lines == [
        ("status is", "Waiting or scheduled, Retrying, Dead or Done"),
        ("queue is", "mail"),
        ("enqueued", "last 24 h"),
    ]
    assert question.needs_typing


def test_ticked_rows_are_acted_on_by_id() -> None:
    ticked = ["dead.A1", "failed.B.2", "done.C", "dead.A1", "in_progress.D"]
    retry = about_selected(VERBS["retry"], ticked)
    delete = about_selected(VERBS["delete"], ticked)

    assert retry is not None
    assert retry.body == {"action": "retry", "ids": ["A1", "B.2"]}
    assert (retry.number, retry.others, retry.needs_typing) == (2, 2, False)
    assert retry.lines == [("status is", "Retrying or Dead"), ("id", "…A1, …B.2")]
    assert delete is not None
    assert (delete.number, delete.needs_typing) == (3, True)
    assert "D" not in delete.body["ids"]  # type: ignore[operator]


def test_a_ticked_row_that_waits_is_not_scheduled() -> None:
    later = about_selected(VERBS["delete"], ["pending.A", "scheduled.B"])

    assert later is not None
    assert later.lines[0] == ("status is", "Waiting or Scheduled")


def test_many_ticked_rows_are_counted() -> None:
    question = about_selected(VERBS["retry"], [f"dead.{n:026}" for n in range(101)])

    assert question is not None
    assert question.needs_typing
    assert question.lines[1] == (
        "id",
        "…0000000, …0000001, …0000002, …0000003, …0000004 and 96 more",
    )


@pytest.mark.parametrize("ticked", [[], ["done.A"], ["nonsense"]])
def test_nothing_is_asked_about_nothing(ticked: list[str]) -> None:
    assert about_selected(VERBS["retry"], ticked) is None


def test_a_new_start_is_asked_for() -> None:
    assert asked("reschedule", "", StatusCounts(failed=1)).needs_time
    assert not asked("retry", "", StatusCounts(failed=1)).needs_time
