from __future__ import annotations

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.schemas.job_actions import CancelRequest, RescheduleRequest


def test_everything_may_be_left_out() -> None:
    assert CancelRequest().load({}) == {"reason": None}
    assert RescheduleRequest().load({"run_at": None}) == {
        "run_at": None,
        "priority": None,
        "queue_name": None,
    }


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError):
        CancelRequest().load({"because": "x"})
