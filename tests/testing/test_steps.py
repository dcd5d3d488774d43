"""Steps of tasks in a test, with a job and without."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs, TaskContext
from flask_forge_jobs.testing import JobsKit
from flask_forge_jobs.testing.kit import Mode


@pytest.mark.parametrize("mode", ["queued", "inline"])
def test_a_job_keeps_its_steps(app: Flask, forge: ForgeJobs, mode: Mode) -> None:
    calls: list[str] = []

    @forge.task(retry=0)
    def work(context: TaskContext) -> object:
        context.step("first", calls.append, "first")
        saved = context.checkpoint
        context.save(len(calls))
        if saved is None:
            raise ConnectionError("no")
        context.step("second", calls.append, "second")
        return saved

    with JobsKit(app, mode) as jobs, app.app_context():
        if mode == "inline":
            with pytest.raises(ConnectionError):
                work.enqueue()
        else:
            work.enqueue()
        ran = jobs.drain(raise_errors=False)

    assert (ran[-1].status, ran[-1].result) == ("done", 1)
    assert calls == ["first", "second"]


def test_a_task_without_a_job_shows_what_it_keeps(app: Flask, forge: ForgeJobs) -> None:
    @forge.task
    def work(context: TaskContext) -> object:
        context.save(("place", 1))
        return context.step("pair", lambda: (1, 2))

    with JobsKit(app) as jobs:
        for _ in range(2):
            assert jobs.perform(work) == [1, 2]
            assert jobs.steps == {"pair": [1, 2]}
        assert jobs.saved == [["place", 1]] * 2


def test_a_context_may_be_that_of_a_later_attempt(app: Flask, forge: ForgeJobs) -> None:
    @forge.task
    def work(context: TaskContext) -> object:
        return context.step("pair", lambda: 1 // 0), context.checkpoint

    with JobsKit(app) as jobs:
        context = jobs.context(work, attempt=2, steps={"pair": (1, 2)}, checkpoint=3)

        assert work.function(context) == ([1, 2], 3)
        assert jobs.steps == {}
