from __future__ import annotations

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bulk import (
    APPLIES_TO,
    BulkChange,
    JobAction,
    Skip,
    SkipReason,
)
from flask_forge_jobs.model.jobs import JobStatus


def test_actions_are_known_by_name() -> None:
    assert JobAction.parse("run_now", "action") is JobAction.RUN_NOW
    for unknown in ("requeue", "", None, 5):
        with pytest.raises(InvalidInputError) as caught:
            JobAction.parse(unknown, "action")
        assert caught.value.field == "action"


def test_every_action_knows_its_states() -> None:
    assert set(APPLIES_TO) == set(JobAction)
    assert JobStatus.DONE not in APPLIES_TO[JobAction.RETRY]
    assert JobStatus.IN_PROGRESS not in APPLIES_TO[JobAction.RESCHEDULE]


def test_changes_add_up() -> None:
    one = BulkChange(2, 1, [Skip("a", SkipReason.NOT_FOUND)])
    other = BulkChange(3, 0, (Skip("b", SkipReason.WRONG_STATUS),))

    assert one + other == BulkChange(5, 1, (*one.skipped, *other.skipped))
