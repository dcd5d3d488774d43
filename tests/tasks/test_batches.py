"""Batches and waiting jobs as applications use them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from flask_forge_jobs import (
    BatchEndedError,
    EndedBatch,
    ForgeJobs,
    InvalidInputError,
    JobStatus,
    TaskContext,
)
from flask_forge_jobs.model.batches import BatchState
from flask_forge_jobs.tasks import batches as module
from flask_forge_jobs.tasks.batches import BatchBlock
from flask_forge_jobs.testing.kit import JobsKit


class Report:
    """An application that renders reports, and what it has heard."""

    def __init__(self) -> None:
        self.app = Flask("report")
        self.forge = forge = ForgeJobs(self.app)
        self.heard: list[tuple[str, EndedBatch]] = []
        self.joined: list[object] = []

        @forge.task
        def render(part: int) -> int:
            if part < 0:
                raise ValueError("no such part")
            return part * part

        @forge.task
        def join(context: TaskContext) -> int:
            self.joined.append([(p.status, p.result) for p in context.parents])
            return sum(parent.result for parent in context.parents)

        @forge.task
        def spread(context: TaskContext, parts: int) -> None:
            context.batch.add_many(render.job(part=n) for n in range(parts))

        @forge.task
        def done(ended: EndedBatch) -> None:
            self.heard.append(("done", ended))

        @forge.task
        def over(ended: EndedBatch) -> None:
            self.heard.append(("over", ended))

        @forge.task(max_attempts=3)
        def died(ended: EndedBatch) -> None:
            self.heard.append(("died", ended))

        self.render, self.join, self.spread = render, join, spread
        self.done, self.over, self.died = done, over, died

    @property
    def told(self) -> list[str]:
        return [name for name, _ in self.heard]


@pytest.fixture
def report() -> Report:
    return Report()


@pytest.fixture(params=["queued", "inline"])
def kit(report: Report, request: pytest.FixtureRequest) -> Iterator[JobsKit]:
    with JobsKit(report.app, request.param) as opened, report.app.app_context():
        yield opened


@pytest.fixture
def queued(report: Report) -> Iterator[JobsKit]:
    with JobsKit(report.app, "queued") as opened, report.app.app_context():
        yield opened


def test_a_batch_tells_of_its_end(report: Report, kit: JobsKit) -> None:
    with report.forge.batch(
        "report 7", on_success=report.done, on_finished=report.over, data={"year": 7}
    ) as batch:
        parts = [batch.add(report.render.job(part=n)) for n in range(3)]
        total = batch.add(report.join.options(after=parts).job())
    kit.drain()

    assert batch.counts == (4, 0, 0, 4, 0)
    assert report.told == ["over", "done"]
    assert report.heard[1][1] == {
        "id": batch.id, "name": "report 7", "data": {"year": 7}, "total": 4, "done": 4,
        "dead": 0, "removed": 0,
    }  # fmt: skip
    assert total.result == 5
    assert report.joined == [[("done", 0), ("done", 1), ("done", 4)]]
    handle = report.forge.batch_of(batch.id)
    assert (handle.name, handle.data, handle.state) == (
        "report 7", {"year": 7}, BatchState.DONE,
    )  # fmt: skip
    assert handle.wait(0)
    assert sorted(handle.results()) == [0, 1, 4, 5]
    assert [job.id for job in handle.jobs()] == [*(p.id for p in parts), total.id]
    assert [job.id for job in handle.jobs("done")] == [job.id for job in handle.jobs()]


def test_a_dead_job_is_told_of_and_retried(report: Report, queued: JobsKit) -> None:
    with report.forge.batch(on_dead=report.died, on_success=report.done) as batch:
        bad = batch.add(report.render.options(max_attempts=1).job(part=-1))
        batch.add(report.join.options(after=bad).job())
    queued.drain(raise_errors=False)

    assert report.told == ["died"]
    handle = report.forge.batch_of(batch.id)
    assert handle.counts == (2, 0, 0, 0, 2)
    assert [job.status for job in handle.jobs(JobStatus.DEAD)] == [JobStatus.DEAD] * 2
    assert handle.retry() == 1
    assert handle.counts == (2, 2, 0, 0, 0)
    assert not handle.wait(0)
    handle.cancel()
    assert handle.state is BatchState.DEAD


def test_an_empty_batch_ends(report: Report, kit: JobsKit) -> None:
    with report.forge.batch(on_success=report.done):
        pass
    kit.drain()

    assert report.told == ["done"]


def test_a_job_adds_to_its_batch(report: Report, kit: JobsKit) -> None:
    with report.forge.batch(on_success=report.done) as batch:
        batch.add(report.spread.job(parts=3))
    kit.drain()

    assert batch.counts.total == 4
    assert report.heard[0][1]["done"] == 4
    with pytest.raises(BatchEndedError):
        report.forge.batch_of(batch.id).add(report.render.job(part=1))


def test_a_batch_within_another(report: Report, kit: JobsKit) -> None:
    with report.forge.batch("year", on_success=report.done) as outer:
        first = outer.add(report.render.job(part=2))
        assert first.id > outer.id
        # It is stored first, so that the inner one has something to be within.
    kit.drain()
    assert report.told == ["done"]
    with pytest.raises(BatchEndedError), report.forge.batch(within=outer):
        pass


def test_nothing_is_stored_of_a_block_that_raises(report: Report, kit: JobsKit) -> None:
    assert broken_block(report, 1)
    assert kit.enqueued() == []


def broken_block(report: Report, count: int) -> str:
    """Raise within a block that has added jobs; return the id of its batch."""
    batch = report.forge.batch()
    with contextlib.suppress(ZeroDivisionError), batch:
        batch.add_many(report.render.job(part=n) for n in range(count))
        raise ZeroDivisionError
    return batch.id


def test_more_jobs_than_go_into_one_transaction(
    report: Report, queued: JobsKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BULK_JOBS", 3)

    with report.forge.batch(on_success=report.done) as batch:
        batch.add_many(report.render.job(part=n) for n in range(7))
        queued.drain()
        assert report.told == []
    queued.drain()

    assert batch.counts.done == 7
    assert report.told == ["done"]
    broken = report.forge.batch_of(broken_block(report, 4))
    assert broken.state is BatchState.DEAD


def test_the_first_dead_job_ends_the_rest(report: Report, queued: JobsKit) -> None:
    with report.forge.batch("all", cancel_on_dead=True) as batch:
        batch.add(report.render.options(max_attempts=1, priority=-1).job(part=-1))
        batch.add_many(report.render.job(part=n) for n in range(3))
    assert queued.assert_batched("all", total=4).id == batch.id
    with pytest.raises(AssertionError, match="made: 'all' of 4 jobs"):
        queued.assert_batched("some")
    ran = queued.drain(raise_errors=False)

    assert batch.counts.dead + batch.counts.done == 4
    assert len(ran) <= 4
    assert queued.assert_batched().state is BatchState.DEAD


def test_a_duplicate_is_the_job_that_is_there(report: Report, queued: JobsKit) -> None:
    other = report.render.options(dedupe_key="k").enqueue(part=1)

    with report.forge.batch() as batch:
        handle = batch.add(report.render.options(dedupe_key="k").job(part=1))
        child = batch.add(report.join.options(after=handle).job())

    assert (handle.id, handle.is_deduped) == (other.id, True)
    assert batch.counts.total == 1
    queued.drain()
    assert child.result == 1


def test_a_chain(report: Report, kit: JobsKit) -> None:
    first = report.render.enqueue(part=3)
    last = report.join.options(after=first, on_parent_dead="run").enqueue()
    kit.drain()

    assert last.result == 9


def test_a_held_job_is_released(report: Report, queued: JobsKit) -> None:
    first = report.render.options(max_attempts=1).enqueue(part=-1)
    last = report.render.options(after=[first.id], on_parent_dead="hold").enqueue(
        part=2
    )
    queued.drain(raise_errors=False)
    assert last.status is JobStatus.PENDING

    last.release()
    queued.drain()

    assert last.result == 4
    assert not first.retry(dependents=True) or first.status is JobStatus.PENDING


def test_no_job_is_lost_outside_the_block(report: Report, queued: JobsKit) -> None:
    batch = report.forge.batch()
    for _ in ("before", "after"):
        with pytest.raises(RuntimeError, match="within the `with` block"):
            batch.add(report.render.job(part=1))
        with batch:
            batch.add(report.render.job(part=1))

    report.forge.batch_of(batch.id).add(report.render.job(part=2))

    assert len(queued.drain()) == batch.counts.done


def test_what_no_batch_takes(report: Report, kit: JobsKit) -> None:
    del kit
    with pytest.raises(InvalidInputError, match="name"):
        report.forge.batch("")
    with pytest.raises(
        InvalidInputError, match=r"^on_success: join must take the job or batch"
    ):
        report.forge.batch(on_success=report.join)
    wrong: Any = report.render
    with pytest.raises(InvalidInputError, match=r"^on_dead: a function is not a task"):
        report.forge.batch(on_dead=wrong.function)
    with pytest.raises(InvalidInputError, match="within: a Task is not the id"):
        report.forge.batch(within=wrong)
    add: Any
    job = report.render.job(part=1)
    for taker in (report.forge.batch(), report.forge.batch_of(report.forge.batch().id)):
        with contextlib.ExitStack() as stack:
            if isinstance(taker, BatchBlock):
                stack.enter_context(taker)
            for add, given, words in (
                (taker.add_many, job, r"^jobs: a NewJob is no list; write batch\.add"),
                (taker.add_many, [job, 7], r"^jobs\[1\]: 7 is not a job"),
                (
                    taker.add,
                    wrong,
                    r"^job: a Task is not a job; .* render\.job\(...\)$",
                ),
            ):
                with pytest.raises(InvalidInputError, match=words):
                    add(given)
    with pytest.raises(InvalidInputError, match="after"):
        report.render.options(after=7)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(RuntimeError, match="has no batch"):
        report.spread(parts=1)
