from __future__ import annotations

import logging
from typing import Any

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.claims import RunId
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done, Outcome, Released
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.run_end import CancelReason, JobUpdate
from flask_forge_jobs.runtime.loop.writer import OutcomeWriter
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.run.job_log import JOB_LOGGER, JobLog
from flask_forge_jobs.runtime.run.outcome import UNSTORABLE_MESSAGE, OutcomeMapper
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import each_backend
from tests.support.jobs import OWNER, QUEUE, claim_one, enqueue
from tests.support.runtimes import Bench, claimed

# Neither database can store it as text.
BAD = Done(object())  # type: ignore[arg-type]


class Rig(Bench):
    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self.storage = storage
        mapper = OutcomeMapper(QueueSettings, None)
        self.writer = OutcomeWriter(
            storage.jobs,
            OWNER,
            self.handover,
            mapper,
            storage.recorder,
            job_log=JobLog(self.lease.clock),
        )

    def end(self, *job_ids: str, outcome: Outcome | None = None) -> None:
        """Let jobs end that no database knows of."""
        for job_id in job_ids:
            execution = Execution(claimed(job_id), 0.0)
            self.put(execution, outcome or Done())

    def end_claimed(self, *outcomes: Outcome) -> list[str]:
        """Let claimed jobs end in turn; return their ids."""
        ids = [enqueue(self.storage) for _ in outcomes]
        jobs = self.storage.jobs.claim(QUEUE, OWNER, len(ids))
        for job, outcome in zip(jobs, outcomes, strict=True):
            self.put(Execution(job, 0.0), outcome)
        return ids

    @property
    def waiting(self) -> list[tuple[str, JobStatus]]:
        return [(each.job.id, each.status) for each in self.writer.collect()]


@pytest.fixture
def rig(storage: Storage) -> Rig:
    return Rig(storage)


def test_what_comes_during_a_write_waits_for_the_next(rig: Rig) -> None:
    rig.end("a", "b")
    batch = rig.writer.collect()
    rig.end("c")

    rig.writer.note_written(batch, [])

    assert rig.waiting == [("c", JobStatus.DONE)]


def test_what_ends_while_others_are_mapped_is_not_forgotten(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = OutcomeMapper.update

    def update_late(*arguments: Any) -> JobUpdate | None:
        monkeypatch.undo()
        rig.end("b")
        return update(*arguments)

    rig.end("a")
    monkeypatch.setattr(OutcomeMapper, "update", update_late)

    assert rig.waiting == [("a", JobStatus.DONE)]
    assert rig.waiting == [("a", JobStatus.DONE), ("b", JobStatus.DONE)]


def test_outcomes_are_known_while_they_become_updates(rig: Rig) -> None:
    rig.end("a")
    before = rig.writer.runs()

    rig.writer.collect()

    assert before == rig.writer.runs() != set()


def test_a_run_is_known_before_the_handover_forgets_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat may ask in between, and would take it for a stray."""
    rig.end("a")
    known: list[set[RunId]] = []
    drop = rig.handover.drop_ended

    def look_and_drop(count: int) -> None:
        drop(count)
        known.append(rig.writer.runs())

    monkeypatch.setattr(rig.handover, "drop_ended", look_and_drop)

    rig.writer.collect()

    assert [{run.job_id for run in runs} for runs in known] == [{"a"}]


def test_what_goes_back_is_written_as_unspent(rig: Rig) -> None:
    rig.end("a", outcome=Released())

    (update,) = rig.writer.collect()

    assert (update.status, update.uncount) == (JobStatus.PENDING, True)


def test_a_lost_job_is_not_written(rig: Rig) -> None:
    rig.end("a")
    ((execution, _),) = rig.ended
    execution.token.cancel(CancelReason.LOST)

    assert rig.waiting == []
    assert not rig.writer.has_unwritten


def test_what_was_refused_is_logged_and_forgotten(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.end("a", "b")

    rig.writer.note_written(rig.writer.collect(), ["b"])

    assert not rig.writer.has_unwritten
    assert "jobs were lost to other workers; outcomes dropped: ['b']" in caplog.text


def test_an_outcome_is_logged_once_it_is_stored(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, JOB_LOGGER)
    rig.end("stored", "dropped")
    batch = rig.writer.collect()
    before = list(caplog.messages)

    rig.writer.note_written(batch, ["dropped"])

    lines = [each for each in caplog.messages if each.startswith("job done: ")]
    assert before == []
    assert ["id=stored " in line for line in lines] == [True]


@each_backend
def test_all_but_the_bad_one_are_stored(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad, last = rig.end_claimed(Done("1"), BAD, Done("3"))

    rig.writer.write_singly(rig.writer.collect())

    (replacement,) = rig.writer.collect()
    assert (replacement.job.id, replacement.error) == (bad, UNSTORABLE_MESSAGE)
    for job_id in (good, last):
        assert rig.storage.job_reader.get(job_id).status is JobStatus.DONE
    assert f"cannot store the outcome of job {bad}" in caplog.text


def test_a_replacement_that_is_refused_as_well_is_given_up(rig: Rig) -> None:
    rig.end_claimed(BAD)
    rig.writer.write_singly(rig.writer.collect())
    (replacement,) = rig.writer.collect()
    replacement.result = BAD.result

    rig.writer.write_singly([replacement])

    assert rig.waiting == []


@each_backend
def test_nothing_is_blamed_on_a_storage_that_is_away(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageUnavailableError("gone")

    rig.end_claimed(Done("1"))
    monkeypatch.setattr(type(rig.storage.jobs), "finish", fail)

    with pytest.raises(StorageUnavailableError):
        rig.writer.write_singly(rig.writer.collect())

    assert [each.result for each in rig.writer.collect()] == ["1"]


def test_jobs_can_be_released_at_once(rig: Rig) -> None:
    enqueue(rig.storage)
    job = claim_one(rig.storage, owner=OWNER)

    rig.writer.give_back([job], 0.0)

    found = rig.storage.job_reader.get(job.id)
    assert (found.status, found.attempts) == (JobStatus.PENDING, 0)


def test_jobs_that_cannot_be_released_are_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise StorageUnavailableError("gone")

    monkeypatch.setattr(type(rig.storage.jobs), "finish", fail)

    rig.writer.give_back([claimed("a"), claimed("b")], 0.0)

    assert (
        "cannot give back jobs a, b; they run again after the lease: gone"
        in caplog.text
    )


def test_what_is_unwritten_is_known_to_be(rig: Rig) -> None:
    before = rig.writer.has_unwritten
    rig.end("a")
    ended = rig.writer.has_unwritten
    batch = rig.writer.collect()
    mapped = rig.writer.has_unwritten
    rig.writer.note_written(batch, [])

    assert (before, ended, mapped) == (False, True, True)
    assert not rig.writer.has_unwritten
