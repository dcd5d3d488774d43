from __future__ import annotations

from flask_forge_jobs.handlers.concurrency import held_keys
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Snooze
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import RETRY_DELAY_S, update_for

OWNER = "worker-1"


def test_keys_have_their_holders_and_the_number_of_those_that_wait(
    storage: Storage,
) -> None:
    storage.jobs.enqueue_many([NewJob("send")] * 5)
    jobs = storage.jobs.claim("default", OWNER, 5)
    for job in jobs[:3]:
        assert storage.concurrency.acquire(job, OWNER, "send", 3)
    assert storage.concurrency.acquire(jobs[3], OWNER, "alone", 1)
    assert not storage.concurrency.acquire(jobs[4], OWNER, "send", 3)
    update = update_for(
        jobs[4], Snooze(60), failure_delay_s=RETRY_DELAY_S, user_cancelled=False
    )
    assert storage.jobs.finish(OWNER, [update]) == []

    send, alone = held_keys(storage)

    assert (send.key, send.waiting) == ("send", 1)
    assert {each.id for each in send.holders} == {job.id for job in jobs[:3]}
    assert all(each.since and each.worker_id == OWNER for each in send.holders)
    assert (alone.key, alone.waiting) == ("alone", 0)
    assert [each.id for each in alone.holders] == [jobs[3].id]


def test_without_limits_there_is_no_key(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("send"))
    storage.jobs.claim("default", OWNER, 1)

    assert held_keys(storage) == []
