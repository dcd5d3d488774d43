"""Batches as the handlers' arguments."""

from __future__ import annotations

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.schemas.batches import (
    BatchesQuerySchema,
    MembersRequestSchema,
    NewBatchRequestSchema,
)

JOB: dict[str, object] = {"kind": "k", "payload": {}}


def test_a_batch_needs_no_more_than_a_name() -> None:
    assert NewBatchRequestSchema().load({"name": "report"}) == {
        "name": "report",
        "data": None,
        "jobs": (),
        "on_success": None,
        "on_finished": None,
        "on_dead": None,
        "cancel_on_dead": False,
        "within": None,
        "is_sealed": True,
    }


@pytest.mark.parametrize("after", [True, 0.0, None, {}])
def test_a_parent_is_an_id_or_a_place(after: object) -> None:
    with pytest.raises(ValidationError) as caught:
        NewBatchRequestSchema().load(
            {"name": "report", "jobs": [JOB | {"after": [0, "x", after]}]}
        )

    message = "must be an id, or the place of an earlier job"
    faults = {"jobs": {0: {"after": {2: [message]}}}}
    assert after is None or caught.value.messages == faults


@pytest.mark.parametrize("count", [0, 1001])
def test_one_to_a_thousand_jobs_are_added(count: int) -> None:
    with pytest.raises(ValidationError) as caught:
        MembersRequestSchema().load({"jobs": [7] * count})

    assert caught.value.messages == {"jobs": [f"has {count} entries, not 1 to 1000"]}


def test_an_unknown_key_of_a_job_at_an_event_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        NewBatchRequestSchema().load({"name": "n", "on_dead": {"kind": "k", "x": 1}})

    assert caught.value.messages == {"on_dead": {"x": ["is not a known key"]}}


def test_open_is_a_switch() -> None:
    assert BatchesQuerySchema().load({"open": "1"})["is_open"] is True
