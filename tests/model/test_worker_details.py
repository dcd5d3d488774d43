from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flask_forge_jobs.model.worker_details import KnownWorker

AT = datetime(2027, 1, 1, tzinfo=UTC)
WORKER = KnownWorker(
    worker_id="w",
    worker_name=None,
    queues=("mail",),
    heartbeat_at=AT,
    started_at=AT,
    version=None,
    host=None,
    pid=None,
    lost_at=None,
    heartbeat_age_s=0.0,
)


@pytest.mark.parametrize(
    ("age_s", "state"),
    [(-5.0, "live"), (30.0, "live"), (30.1, "late"), (60.0, "late"), (60.1, "lost")],
)
def test_the_state_follows_the_age(age_s: float, state: str) -> None:
    assert replace(WORKER, heartbeat_age_s=age_s).state == state


def test_a_worker_whose_jobs_were_taken_is_lost() -> None:
    assert replace(WORKER, lost_at=AT).state == "lost"


@pytest.mark.parametrize(("age_s", "whole"), [(-5.0, 0), (2.9, 2)])
def test_the_age_is_in_whole_seconds(age_s: float, whole: int) -> None:
    assert replace(WORKER, heartbeat_age_s=age_s).whole_heartbeat_age_s == whole
