from __future__ import annotations

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.schemas.bulk import (
    ActionRequestSchema,
    DeleteByStatusRequestSchema,
    DeleteDoneRequestSchema,
    JobIdsRequestSchema,
    RetryAllFailedRequestSchema,
)
from flask_forge_jobs.model.jobs import JobFilter


def test_a_scope_may_be_left_out() -> None:
    assert RetryAllFailedRequestSchema().load({}) == {"queue_name": None, "kind": None}
    assert DeleteByStatusRequestSchema().load({"status": "dead"}) == {
        "status": "dead",
        "queue_name": None,
        "kind": None,
        "older_than": None,
        "expected": None,
    }


@pytest.mark.parametrize("ids", [None, "x", {"0": "x"}, [5], [None]])
def test_ids_are_an_array_of_text(ids: object) -> None:
    with pytest.raises(ValidationError):
        JobIdsRequestSchema().load({"ids": ids})


@pytest.mark.parametrize("days", [True, 1.0, "1", -1, 2**32])
def test_days_are_a_whole_number(days: object) -> None:
    with pytest.raises(ValidationError):
        DeleteDoneRequestSchema().load({"days": days})


def test_a_filter_of_an_action_refuses_what_it_does_not_know() -> None:
    loaded = ActionRequestSchema().load(
        {"action": "retry", "filter": {"error": "x", "min_attempts": None}}
    )
    assert loaded["job_filter"] == JobFilter(error_search="x")

    with pytest.raises(ValidationError) as caught:
        ActionRequestSchema().load({"action": "retry", "filter": {"status": ["dead"]}})
    assert caught.value.messages == {
        "filter": {"status": ["is not a known key; did you mean 'statuses'"]}
    }
