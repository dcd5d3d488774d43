"""An attempt: how long it waited and ran."""

from __future__ import annotations

from dataclasses import replace

from flask_forge_jobs.model.attempts import Attempt, AttemptEnding
from flask_forge_jobs.model.instants import from_micros

DONE = Attempt(
    run=1,
    attempt=1,
    due_at=from_micros(1_000_000),
    started_at=from_micros(1_250_999),
    ended_at=from_micros(3_250_998),
    worker_id=None,
    worker_name=None,
    host=None,
    slot=None,
    ending=AttemptEnding.DONE,
)


def test_it_waited_and_ran_for_whole_milliseconds() -> None:
    assert (DONE.wait_ms, DONE.run_ms) == (250, 1_999)


def test_the_one_under_way_has_not_run_for_a_known_time() -> None:
    assert replace(DONE, ended_at=None).run_ms is None


def test_a_clock_that_was_set_back_leaves_no_duration() -> None:
    late = replace(DONE, due_at=from_micros(9_000_000), ended_at=from_micros(1))

    assert (late.wait_ms, late.run_ms) == (None, None)
