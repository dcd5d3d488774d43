from __future__ import annotations

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.schemas.workers import WorkersQuerySchema


def test_query_loads_as_the_arguments_of_the_handler() -> None:
    assert WorkersQuerySchema().load({"state": "lost"}) == {
        "queue": None,
        "state": "lost",
        "limit": 50,
        "cursor": None,
    }


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(ValidationError):
        WorkersQuerySchema().load({"state": "gone"})
