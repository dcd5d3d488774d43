from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.limits import RateLimits
from flask_forge_jobs.tasks.cancellation import CancelToken
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.handles import JobHandle
from tests.support.backends import backend
from tests.support.clocks import MovingClock
from tests.support.runtimes import NO_RATE_LIMITS

__all__ = ["backend"]


class _Nowhere:
    @property
    def storage(self) -> Storage:
        raise AssertionError("a handle must not read before it is asked")

    def status_url(self, job_id: str, expires_in_s: float) -> str:
        raise AssertionError(job_id, expires_in_s)


NOWHERE = _Nowhere()


class Outbox:
    """Takes jobs as a store would, and keeps them."""

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self.connections: list[object] = []

    def store(self, job: NewJob, *, connection: object | None = None) -> JobHandle:
        self.connections.append(connection)
        result = self.enqueue(job)
        return JobHandle(NOWHERE, result.id, result)

    def store_many(
        self, jobs: Sequence[NewJob], *, connection: object | None = None
    ) -> list[JobHandle]:
        return [self.store(job, connection=connection) for job in jobs]

    def enqueue(self, job: NewJob) -> EnqueueResult:
        self.jobs.append(job)
        return EnqueueResult(
            id=f"job-{len(self.jobs)}",
            is_deduped=False,
            queue_name=job.queue,
            kind=job.kind,
            status=JobStatus.PENDING,
            scheduled_at_us=0,
        )


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def reports() -> list[str]:
    """The progress that contexts reported."""
    return []


@pytest.fixture
def make_context(
    outbox: Outbox, clock: MovingClock, reports: list[str]
) -> Callable[..., TaskContext]:
    """Returns a context; its attempt and deadline can be chosen."""

    def make(
        *,
        attempt: int = 1,
        deadline: float | None = None,
        rate_limits: RateLimits = NO_RATE_LIMITS,
        throttle_attempts: int = 0,
    ) -> TaskContext:
        return TaskContext(
            job_id="01JOB",
            kind="send",
            queue_name="default",
            attempt=attempt,
            max_attempts=5,
            worker_id="01HOST",
            cancel=CancelToken(),
            deadline=deadline,
            clock=clock,
            enqueue_job=outbox.enqueue,
            progress_sink=reports.append,
            rate_limits=rate_limits,
            throttle_attempts=throttle_attempts,
        )

    return make


@pytest.fixture
def context(make_context: Callable[..., TaskContext]) -> TaskContext:
    return make_context()
