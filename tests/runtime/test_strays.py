"""Strays on real storage; what a whole worker does is in ``test_lost_answers.py``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pytest

from flask_forge_jobs.model.jobs import ClaimedJob, JobStatus, RunId
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.runtime.claims import ClaimsUnderWay
from flask_forge_jobs.runtime.dispatcher import Dispatcher
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.strays import Strays, release_strays
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import MovingClock
from tests.support.jobs import OTHER, OWNER, claim_one, enqueue, finish


class Here:
    """Stands for the dispatcher: what is known here, and what it is given."""

    def __init__(self) -> None:
        self.owner = OWNER
        self.claims = ClaimsUnderWay()
        self.known: set[RunId] = set()
        self.given_back: list[ClaimedJob] = []

    def runs(self) -> set[RunId]:
        return set(self.known)

    def give_back(self, executions: Iterable[Execution]) -> None:
        self.given_back += [execution.job for execution in executions]

    def release(self, jobs: Iterable[ClaimedJob]) -> None:
        self.given_back += jobs


class Rig:
    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.here = Here()
        self.strays = Strays(storage.jobs, cast("Dispatcher", self.here), MovingClock())

    def claim(self, owner: str = OWNER) -> ClaimedJob:
        enqueue(self.storage)
        return claim_one(self.storage, owner=owner)

    def beat(self) -> list[ClaimedJob]:
        """Do what a heartbeat does; return what was given back by then."""
        self.strays.note(self.storage.jobs.heartbeat(OWNER, {}).owned)
        self.strays.give_back()
        return self.here.given_back


@pytest.fixture
def rig(storage: Storage) -> Rig:
    return Rig(storage)


def test_a_job_that_nobody_knows_goes_back_as_it_was_claimed(rig: Rig) -> None:
    stray, known, _ = rig.claim(), rig.claim(), rig.claim(OTHER)
    rig.here.known.add(known.run_id)

    assert rig.beat() == [stray]


def test_a_job_of_a_claim_under_way_may_still_arrive(rig: Rig) -> None:
    rig.here.claims.begin()
    job = rig.claim()
    early = [list(rig.beat()) for _ in range(3)]

    rig.here.known.add(job.run_id)
    rig.here.claims.end()

    assert early == [[], [], []]
    assert rig.beat() == []


def test_a_job_that_has_arrived_since_the_beat_is_none(rig: Rig) -> None:
    """It would start here and somewhere else."""
    rig.here.claims.begin()
    job = rig.claim()
    rig.beat()
    rig.here.known.add(job.run_id)
    rig.here.claims.end()

    rig.strays.give_back()

    assert rig.here.given_back == []


def test_it_is_looked_for_between_two_beats(rig: Rig) -> None:
    rig.here.claims.begin()
    stray = rig.claim()
    rig.beat()
    rig.here.claims.end()

    rig.strays.give_back()

    assert rig.here.given_back == [stray]


def test_a_claim_that_began_later_cannot_bring_it(rig: Rig) -> None:
    rig.here.claims.begin()
    stray = rig.claim()
    rig.beat()
    rig.here.claims.end()
    rig.here.claims.begin()

    assert rig.beat() == [stray]


def test_a_job_that_has_ended_meanwhile_is_none(rig: Rig) -> None:
    rig.here.claims.begin()
    job = rig.claim()
    rig.beat()
    finish(rig.storage, job, Done())
    rig.here.claims.end()

    rig.strays.give_back()

    assert rig.here.given_back == []
    assert rig.storage.job_reader.get(job.id).status is JobStatus.DONE


def test_a_job_that_was_given_back_and_claimed_again_is_another_run(rig: Rig) -> None:
    first = rig.claim()
    second = first._replace(claim=first.claim + 1)
    rig.here.known.add(second.run_id)

    assert rig.beat() == [first]


def test_release_gives_back_whatever_is_ours(rig: Rig) -> None:
    rig.here.claims.begin()
    job, _ = rig.claim(), rig.claim(OTHER)

    release_strays(rig.storage.jobs, cast("Dispatcher", rig.here))

    assert rig.here.given_back == [job]
