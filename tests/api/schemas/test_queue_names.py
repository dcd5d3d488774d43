from __future__ import annotations

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.schemas.bulk import DeleteDoneRequest
from flask_forge_jobs.api.schemas.enqueue import NewJobRequest
from flask_forge_jobs.api.schemas.jobs import (
    EnqueueRequest,
    KindsQuery,
    ScheduledQuery,
)
from flask_forge_jobs.api.schemas.queue_names import NamesQueue
from flask_forge_jobs.api.schemas.queues import CleanupRequest
from flask_forge_jobs.api.schemas.workers import ProcessesQuery

ENQUEUE = {"kind": "k", "payload": {}}


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (EnqueueRequest(), ENQUEUE),
        (NewJobRequest(), ENQUEUE),
        (DeleteDoneRequest(), {"days": 1}),
        (CleanupRequest(), {}),
        (KindsQuery(), {}),
        (ScheduledQuery(), {}),
        (ProcessesQuery(), {}),
    ],
    ids=lambda part: type(part).__name__,
)
def test_queue_stands_wherever_queue_name_does(
    schema: NamesQueue, body: dict[str, object]
) -> None:
    for name in ("queue", "queue_name"):
        loaded = schema.load({**body, name: "mail"})
        assert loaded["queue_name"] == "mail"
        assert "queue" not in loaded
    assert schema.load(body)["queue_name"] is None
    with pytest.raises(ValidationError) as raised:
        schema.load({**body, "queue": "mail", "queue_name": "other"})
    assert raised.value.messages == {"queue_name": ["differs from queue"]}
