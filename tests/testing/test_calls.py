"""Calls of the kit with something else than a task, a kind, arguments or a queue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.testing import JobsKit


def send(user_id: int) -> None: ...


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda jobs, _: jobs.assert_enqueued(send), "a function is not a task"),
        (lambda jobs, _: jobs.enqueued(send), "pass what @forge.task returns"),
        (lambda jobs, _: jobs.perform(send, 7), "a function is not a task"),
        (lambda jobs, _: jobs.perform("send", 7), "'send' is not a task"),
        (lambda jobs, _: jobs.context("send"), "'send' is not a task"),
        (lambda jobs, task: jobs.drain(task), "a Task is not the name of a queue"),
        (lambda jobs, _: jobs.drain(["mail"]), "a list is not the name of a queue"),
        (
            lambda jobs, task: jobs.assert_enqueued(task, args=[7]),
            "args= takes a dict by name or a tuple, not a list",
        ),
        (
            lambda jobs, task: jobs.assert_enqueued(task, at=5),
            "at= takes a datetime or a timedelta, not 5",
        ),
    ],
)
def test_a_wrong_call_is_answered(
    jobs: JobsKit, forge: ForgeJobs, call: Callable[[Any, Any], object], fault: str
) -> None:
    with pytest.raises(TypeError, match=fault):
        call(jobs, forge.task(send))


def test_a_time_without_a_zone_is_refused(jobs: JobsKit) -> None:
    with pytest.raises(ValueError, match="with a time zone"):
        jobs.assert_enqueued("send", at=datetime(2026, 6, 1))  # noqa: DTZ001  # naive
