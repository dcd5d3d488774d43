"""Batches and waiting jobs as applications use them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_forge_jobs import (
    BatchEndedError,
    BatchNotFoundError,
    EndedBatch,
    ForgeJobs,
    InvalidInputError,
    JobStatus,
    TaskContext,
)
from flask_forge_jobs.model.batches import BatchState
from flask_forge_jobs.tasks import batch_blocks as module
from flask_forge_jobs.tasks.batch_blocks import BatchBlock
from flask_forge_jobs.testing.kit import JobsKit


class Report:
    """An application that renders reports, and what it has heard."""

    def __init__(self, **config: object) -> None:
        self.app = Flask("report")
        self.app.config.from_mapping(config)
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
    with report.forge.batch("year", on_success=report.done) as year:
        first = year.add(report.render.job(part=2))
        assert first.id > year.id
        with report.forge.batch("spring", within=year) as spring:
            with report.forge.batch("May", within=spring) as may:
                may.add(report.render.options(after=first).job(part=4))
            spring.add(report.render.options(after=may).job(part=3))
        kit.drain()
        assert spring.counts.done == 2
        assert report.told == []
        year.add(report.render.options(after=spring).job(part=1))
    kit.drain()

    assert report.told == ["done"]
    assert year.counts.total == 3
    with pytest.raises(BatchEndedError), report.forge.batch(within=year):
        pass


def test_a_block_that_raises_cancels_the_batches_within_its_own(
    report: Report, queued: JobsKit
) -> None:
    with contextlib.suppress(ZeroDivisionError), report.forge.batch() as outer:
        with report.forge.batch(within=outer) as inner:
            inner.add(report.render.job(part=1))
        raise ZeroDivisionError
    assert inner.counts.dead == outer.counts.dead == 1
    assert queued.drain() == []

    unstored = report.forge.batch()
    inner = report.forge.batch(within=unstored)
    with contextlib.suppress(ZeroDivisionError), unstored, inner:
        raise ZeroDivisionError
    with pytest.raises(BatchNotFoundError):
        report.forge.batch_of(unstored.id).cancel()


def test_a_batch_in_a_transaction_takes_one_within_it_after_its_block(
    tmp_path: Path,
) -> None:
    file = tmp_path / "jobs.db"
    report = Report(FORGE_JOBS_DATABASE_URL=f"sqlite:///{file}")
    with (
        JobsKit(report.app) as queued,
        report.app.app_context(),
        contextlib.closing(sqlite3.connect(file)) as connection,
    ):
        with report.forge.batch(connection=connection, on_success=report.done) as outer:
            outer.add(report.render.job(part=1))
            inner = report.forge.batch(within=outer, connection=connection)
            with pytest.raises(InvalidInputError, match="after that"), inner:
                inner.add(report.render.job(part=1))
        with inner:
            inner.add(report.render.job(part=2))
        connection.commit()
        queued.drain()

        assert outer.counts.done == 2
        assert report.told == ["done"]


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
