from __future__ import annotations

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.schemas.activity import EventsQuerySchema
from flask_forge_jobs.model.jobs import JobFilter


def test_an_event_id_has_up_to_nineteen_digits() -> None:
    loaded = EventsQuerySchema().load({"after": str(2**63 - 1), "queue": ["mail"]})

    assert loaded == {
        "after": 2**63 - 1,
        "job_filter": JobFilter(queues=["mail"]),
        "types": (),
        "limit": 100,
    }
    with pytest.raises(ValidationError):
        EventsQuerySchema().load({"after": str(2**63)})
