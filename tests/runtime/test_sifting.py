"""Outcomes that a real database refuses; a dispatcher with them is in its own test."""

from __future__ import annotations

import threading

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done, Outcome
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.outbox import Outbox
from flask_forge_jobs.runtime.settling import UNSTORABLE_MESSAGE, Settler
from flask_forge_jobs.runtime.sifting import Sifter
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import OWNER, QUEUE, enqueue

# Neither database can store it as text.
BAD = Done(object())  # type: ignore[arg-type]


class Rig:
    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.outbox = Outbox(Settler(QueueSettings, None))
        self.sifter = Sifter(
            storage.jobs, storage.recorder, self.outbox, threading.Lock()
        )

    def end(self, *outcomes: Outcome) -> list[str]:
        """Let claimed jobs end in turn; return their ids."""
        ids = [enqueue(self.storage) for _ in outcomes]
        jobs = self.storage.jobs.claim(QUEUE, OWNER, len(ids))
        for job, outcome in zip(jobs, outcomes, strict=True):
            self.outbox.put(Execution(job, 0.0), outcome)
        return ids

    def sift(self) -> None:
        self.sifter.sift(OWNER, self.outbox.batch())


@pytest.fixture
def rig(storage: Storage) -> Rig:
    return Rig(storage)


def test_all_but_the_bad_one_are_stored(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad, last = rig.end(Done("1"), BAD, Done("3"))

    rig.sift()

    (replacement,) = rig.outbox.batch()
    assert (replacement.job.id, replacement.error) == (bad, UNSTORABLE_MESSAGE)
    for job_id in (good, last):
        assert rig.storage.job_reader.get(job_id).status is JobStatus.DONE
    assert f"cannot store how job {bad} ended" in caplog.text


def test_nothing_is_blamed_on_a_storage_that_is_away(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageUnavailableError("gone")

    rig.end(Done("1"))
    monkeypatch.setattr(type(rig.storage.jobs), "finish", fail)

    with pytest.raises(StorageUnavailableError):
        rig.sift()

    assert [each.result for each in rig.outbox.batch()] == ["1"]
