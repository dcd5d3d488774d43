"""Failures are counted in the transaction that ends the run, on both backends."""

from __future__ import annotations

import threading

import pytest

from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Throttled
from flask_forge_jobs.model.signatures import OTHER_ERRORS
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs import failures
from flask_forge_jobs.storage.jobs.failures import Signatures
from tests.support.failing import counts, fail, groups
from tests.support.jobs import claim_one, enqueue, finish, rescue_all, update_for
from tests.support.sql import Sql


def test_what_is_no_failure_is_not_counted(storage: Storage) -> None:
    fail(storage, Done())
    fail(storage, Throttled(60, reason="no"), "slow")
    enqueue(storage)
    job = claim_one(storage)
    storage.job_admin.cancel(job.id)
    finish(storage, job, Failed("cancelled meanwhile"))

    assert groups(storage) == []
    assert storage.job_reader.get(job.id).signature is None


def test_a_retry_that_is_cancelled_is_no_error_now(storage: Storage) -> None:
    job_id = enqueue(storage)
    finish(storage, claim_one(storage), Failed("no"), delay_s=0.0)
    job = claim_one(storage)
    storage.job_admin.cancel(job_id)
    finish(storage, job, Failed("no"))

    assert counts(storage) == {"no": (1, 0, 0)}
    assert storage.job_reader.get(job_id).signature is None


def test_a_lost_run_is_a_failure(storage: Storage) -> None:
    for _ in range(3):
        enqueue(storage)
    stopped, *_ = [claim_one(storage) for _ in range(3)]
    storage.job_admin.cancel(stopped.id)
    rescue_all(storage)

    assert counts(storage) == {"reaped after stale heartbeat": (2, 2, 0)}
    assert storage.job_reader.get(stopped.id).signature is None


def test_an_attempt_that_failed_has_its_signature(storage: Storage, sql: Sql) -> None:
    failed = fail(storage, Failed("no 1"))
    fail(storage, Throttled(60, reason="no 2"), "slow")
    enqueue(storage)
    claim_one(storage)
    rescue_all(storage)

    rows = sql.run("SELECT ending, signature FROM forge_attempt ORDER BY ending")

    assert rows == [
        ("crashed", "reaped after stale heartbeat"),
        ("failed", "no <n>"),
        ("throttled", None),
    ]
    assert storage.job_reader.get(failed).signature == "no <n>"


def test_a_refused_failure_is_not_counted(storage: Storage) -> None:
    enqueue(storage)
    job = claim_one(storage)
    rescue_all(storage)
    assert not finish(storage, job, Failed("too late"))

    assert list(counts(storage)) == ["reaped after stale heartbeat"]


def test_secrets_are_in_no_signature_and_no_message(storage: Storage) -> None:
    fail(storage, Failed("token=c4n4ry refused 'c4n4ry'"))

    [group] = groups(storage)

    assert group.signature == "token=[redacted] refused <value>"
    assert group.message == "token=[redacted] refused 'c4n4ry'"


def test_a_hostile_error_adds_no_signature_beyond_the_bound(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MAX_SIGNATURES", 3)
    words = ("ab", "cd", "ef", "gh", "ij")
    for word in words:
        fail(storage, Failed(word))
    fail(storage, Failed("ab"))
    fail(storage, Failed("gh"), "other")  # of another queue

    assert counts(storage) == {
        "ab": (2, 2, 0),
        "(other errors)": (2, 2, 0),
        "cd": (1, 1, 0),
        "ef": (1, 1, 0),
        "gh": (1, 1, 0),
    }
    others = JobFilter(signature=OTHER_ERRORS)
    assert storage.job_reader.total(others) == 2


def test_a_known_signature_costs_no_look_up(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(storage, Failed("no 1"))
    monkeypatch.setattr(
        failures.Signatures, "_registered", lambda *_: pytest.fail("looked up")
    )

    fail(storage, Failed("no 2"))

    assert counts(storage) == {"no <n>": (2, 2, 0)}


def test_a_done_job_writes_nothing_of_errors(storage: Storage, sql: Sql) -> None:
    fail(storage, Done())

    assert sql.value("SELECT COUNT(*) FROM forge_error_change") == 0
    assert sql.value("SELECT COUNT(*) FROM forge_error") == 0


def test_remembered_signatures_are_bounded(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MAX_REMEMBERED", 3)
    for word in ("ab", "cd", "ef", "gh", "ij", "kl"):
        fail(storage, Failed(word))

    assert len(storage.jobs._signatures._known) <= 4


def test_workers_that_fail_at_once_lose_no_failure(storage: Storage) -> None:
    """None waits for a row that another one holds, so there is no deadlock either."""
    workers, rounds, batch = 4, 4, 30
    storage.jobs.enqueue_many(
        [NewJob(f"kind-{n % 3}") for n in range(workers * rounds * batch)]
    )
    faults: list[BaseException] = []
    texts = ("timeout after {} s", "no such user {}", "'{}' is taken", "refused {}")

    def work(name: str) -> None:
        # As in a process of its own, which has seen no signature yet.
        jobs = storage.jobs
        try:
            for number in range(rounds):
                updates = []
                for place, job in enumerate(jobs.claim("default", name, batch)):
                    outcome = (Failed, Dead)[place % 2](
                        texts[(place + number) % 4].format(number)
                    )
                    updates.append(
                        update_for(
                            job, outcome, failure_delay_s=600.0, user_cancelled=False
                        )
                    )
                Signatures(jobs._database, str).sign(reversed(updates))
                assert jobs.finish(name, updates) == []
                storage.errors.fold(0)
        except BaseException as fault:  # noqa: BLE001  # shown by the test
            faults.append(fault)

    threads = [
        threading.Thread(target=work, args=[f"owner-{n}"]) for n in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults == []
    assert sum(each.count for each in groups(storage)) == workers * rounds * batch
    assert (
        sum(each.retrying for each in groups(storage)) == workers * rounds * batch / 2
    )
    assert sum(each.dead for each in groups(storage)) == workers * rounds * batch / 2
    assert len(groups(storage)) == len(texts)
