"""A worker without threads, on each backend."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome, Throttled
from flask_forge_jobs.runtime.inline import InlineRun, InlineWorker
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.context import TaskContext
from tests.support.runtimes import QuickTask, add, claimed, registry_of


def inline_worker(storage: Storage, *tasks: QuickTask) -> InlineWorker:
    return InlineWorker(QueueRuntime(storage, registry_of(*tasks), jitter=None).plan)


def test_it_claims_runs_and_finishes(storage: Storage) -> None:
    task = QuickTask(function=lambda _: Done('"kept"'))
    worker = inline_worker(storage, task)
    first, second = add(storage, "quick"), add(storage, "quick", queue="other")

    ran = [worker.run_next(["default", "other"]) for _ in range(3)]

    assert [each and each.job.id for each in ran] == [first, second, None]
    assert task.job_ids == [first, second]
    job = storage.job_reader.get(first)
    assert (job.status, job.result, job.attempts) == (JobStatus.DONE, '"kept"', 1)
    assert storage.recorder.take()  # as the runs of a worker are


def test_a_certain_job_is_run_before_others_and_once(storage: Storage) -> None:
    worker = inline_worker(storage, QuickTask())
    add(storage, "quick")
    second = add(storage, "quick")

    ran = worker.run_one(second)

    assert ran is not None
    assert ran.job.id == second
    assert worker.run_one(second) is None


def test_time_limit_and_progress_are_those_of_a_worker(storage: Storage) -> None:
    seen: list[float | None] = []

    def work(context: TaskContext) -> None:
        context.set_progress(1)
        seen.append(context.seconds_left())

    job_id = add(storage, "quick")
    inline_worker(storage, QuickTask(function=work, timeout_s=60)).run_next(["default"])

    (left_s,) = seen
    assert left_s is not None
    assert 0 < left_s <= 60
    assert storage.job_reader.get(job_id).progress == "1"


def test_a_failure_waits_as_its_queue_says(storage: Storage) -> None:
    storage.queues.ensure("default")
    storage.queues.change(
        "default",
        {
            "backoff_enabled": True,
            "backoff_base_seconds": 40,
            "backoff_max_seconds": 400,
        },
    )
    job_id = add(storage, "quick")
    task = QuickTask(function=lambda _: Failed("not now"))

    ran = inline_worker(storage, task).run_one(job_id)

    assert ran is not None
    job = storage.job_reader.get(job_id)
    assert (job.status, job.last_error) == (JobStatus.FAILED, "not now")
    assert (job.scheduled_at - job.enqueued_at).total_seconds() >= 80


@pytest.mark.parametrize(
    ("outcome", "raised"),
    [
        (Done(), None),
        (Throttled(5), None),
        (Dead("hopeless"), Dead),
        (Failed("not now"), RuntimeError),
    ],
)
def test_only_what_has_failed_is_raised(
    outcome: Outcome, raised: type[Exception] | None
) -> None:
    run = InlineRun(claimed(), outcome, None)

    if raised is None:
        run.raise_error()
    else:
        with pytest.raises(raised):
            run.raise_error()


def test_the_exception_of_the_task_is_raised_as_it_is() -> None:
    error = KeyError("id")

    with pytest.raises(KeyError) as caught:
        InlineRun(claimed(), Failed("'id'"), error).raise_error()

    assert caught.value is error
