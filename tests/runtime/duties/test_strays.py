"""Strays on real storage; what a whole worker does is in ``test_lost_answers.py``."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done, Released
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.runtime.duties.strays import Strays
from flask_forge_jobs.runtime.loop.rounds import Claims
from flask_forge_jobs.runtime.loop.writer import OutcomeWriter
from flask_forge_jobs.runtime.run.job_log import JobLog
from flask_forge_jobs.runtime.run.outcome import OutcomeMapper
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import MovingClock
from tests.support.jobs import OTHER, OWNER, claim_one, enqueue, finish
from tests.support.runtimes import Bench


class Rig(Bench):
    def __init__(self, storage: Storage) -> None:
        super().__init__(clock=MovingClock())
        self.storage = storage
        self.claims = Claims()
        writer = OutcomeWriter(
            storage.jobs,
            OWNER,
            self.handover,
            OutcomeMapper(QueueSettings, None),
            storage.recorder,
            job_log=JobLog(self.clock),
        )
        self.strays = Strays(
            storage.jobs, self.handover, writer, self.claims, self.clock
        )

    def begin(self) -> None:
        """Begin a claim."""
        self.claims.begun += 1

    def end(self) -> None:
        """End it."""
        self.claims.ended = self.claims.begun

    def claim(self, owner: str = OWNER) -> ClaimedJob:
        enqueue(self.storage)
        return claim_one(self.storage, owner=owner)

    def beat(self) -> list[ClaimedJob]:
        """Do what a heartbeat does; return what was given back by then."""
        self.strays.note(self.storage.jobs.heartbeat(OWNER, {}).owned)
        self.strays.give_back()
        return self.given_back

    @property
    def given_back(self) -> list[ClaimedJob]:
        return [e.job for e, outcome in self.ended if outcome == Released()]

    def know(self, job: ClaimedJob) -> None:
        """Have a job run here."""
        self.started(job)


@pytest.fixture
def rig(storage: Storage) -> Rig:
    return Rig(storage)


def test_a_job_that_nobody_knows_goes_back_as_it_was_claimed(rig: Rig) -> None:
    stray, known, _ = rig.claim(), rig.claim(), rig.claim(OTHER)
    rig.know(known)

    assert rig.beat() == [stray]


def test_a_job_of_a_claim_under_way_may_still_arrive(rig: Rig) -> None:
    rig.begin()
    job = rig.claim()
    early = [list(rig.beat()) for _ in range(3)]

    rig.know(job)
    rig.end()

    assert early == [[], [], []]
    assert rig.beat() == []


def test_a_job_that_has_arrived_since_the_beat_is_none(rig: Rig) -> None:
    """It would start here and somewhere else."""
    rig.begin()
    job = rig.claim()
    rig.beat()
    rig.know(job)
    rig.end()

    rig.strays.give_back()

    assert rig.given_back == []


def test_it_is_looked_for_between_two_beats(rig: Rig) -> None:
    rig.begin()
    stray = rig.claim()
    rig.beat()
    rig.end()

    rig.strays.give_back()

    assert rig.given_back == [stray]


def test_a_claim_that_began_later_cannot_bring_it(rig: Rig) -> None:
    rig.begin()
    stray = rig.claim()
    rig.beat()
    rig.end()
    rig.begin()

    assert rig.beat() == [stray]


def test_a_job_that_has_ended_meanwhile_is_none(rig: Rig) -> None:
    rig.begin()
    job = rig.claim()
    rig.beat()
    finish(rig.storage, job, Done())
    rig.end()

    rig.strays.give_back()

    assert rig.given_back == []
    assert rig.storage.job_reader.get(job.id).status is JobStatus.DONE


def test_a_job_that_was_given_back_and_claimed_again_is_another_run(rig: Rig) -> None:
    first = rig.claim()
    second = first._replace(claim=first.claim + 1)
    rig.know(second)

    assert rig.beat() == [first]


def test_release_gives_back_whatever_is_ours(rig: Rig) -> None:
    rig.begin()
    job, _, cancelled = rig.claim(), rig.claim(OTHER), rig.claim()
    rig.storage.job_admin.cancel(cancelled.id)

    rig.strays.give_back_all()

    released = rig.storage.job_reader.get(job.id)
    assert (released.status, released.attempts) == (JobStatus.PENDING, 0)
    ended = rig.storage.job_reader.get(cancelled.id)
    assert ended.ending is Ending.CANCELLED
    taken = rig.storage.recorder.take().values()
    assert sum(tally.cancelled for tally in taken) == 1
