"""How jobs get in: once, whole, and never twice under one key."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from flask_forge_jobs.errors import DuplicateJobError, InvalidInputError
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Throttled,
)
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.queues import DEFAULT_MAX_WORKERS
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.units import Unit
from tests.support.jobs import (
    OWNER,
    QUEUE,
    RETRY_DELAY_S,
    claim_one,
    enqueue,
    enqueue_in,
    enqueued,
    finish,
    rescue_all,
    run,
)
from tests.support.lossy import lossy_jobs
from tests.support.sql import Sql
from tests.support.threads import Heard, run_together

UNFINISHED = "SELECT COUNT(*) FROM forge_job WHERE status NOT IN ('done', 'dead')"

# -- one job -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"delay": 60}, {"run_at": datetime(2100, 1, 1, tzinfo=UTC)}],
    ids=["now", "delay", "run_at"],
)
@pytest.mark.parametrize("is_of_unit", [False, True])
def test_the_result_has_the_start_that_is_stored(
    storage: Storage, options: dict[str, Any], *, is_of_unit: bool
) -> None:
    storage.jobs.enqueue(NewJob("noop"))  # registers the queue
    entry = AuditRecord("ada", "enqueue", None, "192.0.2.1", "r-1", 200, 1, "{}")
    unit = Unit(storage.database, lambda _: entry)
    stores = storage.within(unit) if is_of_unit else storage

    result = unit.run(lambda: stores.jobs.enqueue(NewJob("noop", **options)))

    stored = storage.job_reader.get(result.id)
    assert stored.scheduled_at == result.scheduled_at
    assert (stored.scheduled_at > stored.enqueued_at) == bool(options)


def test_enqueue_stores_every_field(storage: Storage) -> None:
    new = NewJob(
        "greet", '{"a":[1,"\\u00e9"]}', queue_name="mail", priority=-(2**31),
        max_attempts=1000, dedupe_key="k" * 255, timeout_s=0.25,
        schedule_name="nightly",
    )  # fmt: skip

    result = storage.jobs.enqueue(new)

    stored = storage.job_reader.get(result.id)
    assert (result.is_deduped, result.queue_created) == (False, True)
    assert (result.queue_name, result.kind, result.status) == (
        "mail", "greet", JobStatus.PENDING,
    )  # fmt: skip
    assert (stored.kind, stored.payload, stored.queue_name) == (
        "greet", '{"a":[1,"\\u00e9"]}', "mail",
    )  # fmt: skip
    assert (stored.priority, stored.max_attempts) == (-(2**31), 1000)
    assert (stored.dedupe_key, stored.timeout_s) == ("k" * 255, 0.25)
    assert stored.schedule_name == "nightly"
    assert (stored.attempts, stored.throttle_attempts, stored.crashes) == (0, 0, 0)
    assert stored.enqueued_at == stored.scheduled_at
    assert (stored.started_at, stored.completed_at, stored.slot_id) == (
        None, None, None,
    )  # fmt: skip
    assert (stored.error_history, stored.result, stored.progress) == ((), None, None)


@pytest.mark.parametrize("text", ["%s %(x)s", "';--", "? :now", "日本語 🙂", "\\"])
def test_text_is_stored_as_it_is(storage: Storage, text: str) -> None:
    name = text.replace("?", "x").replace("%", "$")
    payload = dump(text)
    new = NewJob(text, payload, queue_name=name, dedupe_key=text)
    job_id = storage.jobs.enqueue(new).id

    stored = storage.job_reader.get(job_id)
    claimed = claim_one(storage, queue_name=name)

    assert (stored.kind, stored.payload, stored.dedupe_key) == (text, payload, text)
    assert (claimed.kind, claimed.payload, claimed.queue_name) == (text, payload, name)


def test_a_payload_of_a_mebibyte_comes_back_whole(storage: Storage) -> None:
    payload = '"' + "x" * (1_048_576 - 2) + '"'
    storage.jobs.enqueue(NewJob("big", payload))

    assert claim_one(storage).payload == payload


def test_enqueue_registers_a_missing_queue_once(storage: Storage) -> None:
    first, second = (
        enqueued(storage, queue_name="new"),
        enqueued(storage, queue_name="new"),
    )

    assert (first.queue_created, second.queue_created) == (True, False)
    assert storage.queues.get("new").max_workers == DEFAULT_MAX_WORKERS


def test_enqueue_leaves_the_settings_of_a_queue_alone(storage: Storage) -> None:
    storage.queues.ensure("mail", 3)

    assert not enqueued(storage, queue_name="mail").queue_created
    assert storage.queues.get("mail").max_workers == 3


# -- one key -----------------------------------------------------------------------


def test_a_held_key_returns_the_holder(storage: Storage, sql: Sql) -> None:
    """dedupe_returns_existing_active_id"""
    first = enqueued(storage, key="once", queue_name="mail")

    second = enqueued(storage, key="once")

    assert (second.id, second.is_deduped) == (first.id, True)
    assert (second.queue_name, second.status) == ("mail", JobStatus.PENDING)
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 1


def test_the_payload_of_a_deduped_request_is_dropped(storage: Storage) -> None:
    first = storage.jobs.enqueue(NewJob("noop", '{"n":1}', dedupe_key="k"))

    storage.jobs.enqueue(NewJob("noop", '{"n":2}', dedupe_key="k"))

    assert storage.job_reader.get(first.id).payload == '{"n":1}'


def test_a_key_held_by_another_kind_is_a_conflict(storage: Storage) -> None:
    holder = enqueue(storage, "greet", key="shared")

    with pytest.raises(DuplicateJobError) as caught:
        enqueue(storage, "bill", key="shared")

    error = caught.value
    assert (error.dedupe_key, error.job_id, error.kind) == ("shared", holder, "greet")


@pytest.mark.parametrize(
    "outcome", [Failed("no"), Released(), Throttled(60), Throttled(60, scope="job")]
)
def test_a_job_that_will_run_again_holds_its_key(
    storage: Storage, outcome: Outcome
) -> None:
    """claim_next_skips_failed_when_dedupe_sibling_is_active, which cannot come about"""
    first = enqueued(storage, key="once")
    job = claim_one(storage)
    assert enqueued(storage, key="once").status is JobStatus.IN_PROGRESS
    finish(storage, job, outcome)

    second = enqueued(storage, key="once")

    assert (second.id, second.is_deduped) == (first.id, True)


@pytest.mark.parametrize("outcome", [Done(), Dead("no")])
def test_a_finished_job_gives_its_key_back(storage: Storage, outcome: Outcome) -> None:
    first = enqueue(storage, key="once")
    run(storage, outcome)

    second = enqueued(storage, "other", key="once")

    assert second.id != first
    assert not second.is_deduped


def test_one_key_never_has_two_unfinished_jobs(storage: Storage, sql: Sql) -> None:
    """cleanup_superseded_retries_marks_redundant_failed_dead, which is not needed

    Nothing is left to clean up: through every retry the key has one unfinished job.
    """
    first = enqueue(storage, key="once", max_attempts=2)
    for outcome in (Throttled(60, scope="job"), Released(), Failed("1"), Failed("2")):
        assert enqueued(storage, key="once").id == first
        job = claim_one(storage)
        assert enqueued(storage, key="once").id == first
        assert sql.value(UNFINISHED) == 1
        finish(storage, job, outcome)
        sql.age(RETRY_DELAY_S + 1)
    second = enqueue(storage, key="once")
    assert second != first
    claim_one(storage)
    rescue_all(storage)

    assert enqueued(storage, key="once").id == second
    assert storage.job_admin.requeue(first) is False
    assert sql.value(UNFINISHED) == 1


def test_a_key_that_many_want_at_once_gets_one_job(storage: Storage, sql: Sql) -> None:
    """I9"""
    storage.queues.ensure(QUEUE)

    results = run_together([lambda: enqueued(storage, key="once")] * 8)

    assert len({result.id for result in results}) == 1
    assert sum(not result.is_deduped for result in results) == 1
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 1


# -- many at once ------------------------------------------------------------------


def test_enqueue_many_keeps_the_order(storage: Storage) -> None:
    jobs = [NewJob("noop", str(n), queue_name=f"q{n % 3}") for n in range(2500)]

    results = storage.jobs.enqueue_many(jobs)

    ids = [result.id for result in results]
    assert ids == sorted(ids)
    assert [storage.job_reader.get(ids[n]).payload for n in (0, 1234, 2499)] == [
        "0", "1234", "2499",
    ]  # fmt: skip
    statistics = storage.job_reader.statistics()
    assert [statistics[f"q{n}"].counts.pending for n in range(3)] == [834, 833, 833]
    assert all(result.queue_created for result in results)
    assert [job.payload for job in storage.jobs.claim("q1", OWNER, 2)] == ["1", "4"]


def test_enqueue_many_knows_the_schedule_of_each_job(storage: Storage) -> None:
    names = [None, "nightly", None, "hourly"]

    results = storage.jobs.enqueue_many(
        [NewJob("noop", schedule_name=name) for name in names]
    )

    stored = [storage.job_reader.get(result.id) for result in results]
    assert [job.schedule_name for job in stored] == names


def test_enqueue_many_of_nothing_does_nothing(storage: Storage) -> None:
    assert storage.jobs.enqueue_many([]) == []


def test_enqueue_many_collapses_later_duplicates(storage: Storage, sql: Sql) -> None:
    held = enqueue(storage, key="held")
    keys = ["new", None, "new", "held", None, "new"]

    results = storage.jobs.enqueue_many(
        [NewJob("noop", dedupe_key=key) for key in keys]
    )

    assert [result.is_deduped for result in results] == [
        False, False, True, True, False, True,
    ]  # fmt: skip
    assert results[2].id == results[5].id == results[0].id
    assert results[3].id == held
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 4


def test_enqueue_many_stores_all_or_nothing(storage: Storage, sql: Sql) -> None:
    holder = enqueue(storage, "greet", key="shared")
    jobs = [NewJob("noop"), NewJob("bill", dedupe_key="shared"), NewJob("noop")]

    with pytest.raises(DuplicateJobError) as caught:
        storage.jobs.enqueue_many(jobs)

    assert caught.value.job_id == holder
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 1


def test_enqueue_many_refuses_more_than_ten_thousand(
    storage: Storage, sql: Sql
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        storage.jobs.enqueue_many([NewJob("noop")] * 10_001)

    assert caught.value.field == "jobs"
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 0


def test_enqueue_many_knows_a_deferred_start(storage: Storage, sql: Sql) -> None:
    later = storage.job_reader.get(enqueue_in(storage, sql, 500)).scheduled_at

    results = storage.jobs.enqueue_many([NewJob("noop", run_at=later), NewJob("noop")])

    assert storage.job_reader.get(results[0].id).scheduled_at == later
    assert [job.id for job in storage.jobs.claim(QUEUE, OWNER, 5)] == [results[1].id]


def test_a_delay_counts_from_the_moment_of_storing(storage: Storage) -> None:
    job = NewJob("noop", queue_name="mail", delay=600)
    alone = storage.jobs.enqueue(job)
    together = storage.jobs.enqueue_many(
        [job, NewJob("noop", dedupe_key="k", delay=60)]
    )

    for result, delay_s in zip([alone, *together], [600, 600, 60], strict=True):
        stored = storage.job_reader.get(result.id)
        waited = stored.scheduled_at - stored.enqueued_at
        assert waited.total_seconds() == delay_s


def test_bulk_calls_with_crossed_keys_both_succeed(storage: Storage, sql: Sql) -> None:
    """Keys are locked in one order, so two bulk calls cannot deadlock"""
    keys = [f"key-{n:04}" for n in range(1500)]
    storage.queues.ensure(QUEUE)
    forward = [NewJob("noop", dedupe_key=key) for key in keys]

    results = run_together(
        [
            lambda: storage.jobs.enqueue_many(forward),
            lambda: storage.jobs.enqueue_many(forward[::-1]),
        ]
    )

    stored = [result for batch in results for result in batch if not result.is_deduped]
    assert len(stored) == len(keys) == sql.value("SELECT COUNT(*) FROM forge_job")
    assert [r.id for r in results[0]] == [r.id for r in reversed(results[1])]


# -- the answer is lost ------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "once"])
@pytest.mark.parametrize("is_known", [False, True])
def test_enqueue_after_an_unclear_commit_stores_one_row(
    storage: Storage, sql: Sql, key: str | None, is_known: bool
) -> None:
    jobs = lossy_jobs(storage.database)
    stored = 1
    if is_known:
        jobs.enqueue(NewJob("noop"))
        stored += 1

    result = jobs.enqueue(NewJob("noop", dedupe_key=key))

    assert not result.is_deduped
    assert storage.job_reader.get(result.id).dedupe_key == key
    assert sql.value("SELECT COUNT(*) FROM forge_job") == stored


def test_enqueue_after_an_unclear_commit_and_a_quick_worker(
    storage: Storage, sql: Sql
) -> None:
    """The job may be done before its producer hears of it"""

    def work() -> None:
        for job in storage.jobs.claim(QUEUE, OWNER):
            finish(storage, job, Done())

    result = lossy_jobs(storage.database, work).enqueue(NewJob("noop", dedupe_key="k"))

    assert storage.job_reader.get(result.id).status is JobStatus.DONE
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 1


def test_enqueue_many_after_an_unclear_commit_stores_each_once(
    storage: Storage, sql: Sql
) -> None:
    new = [NewJob("noop", dedupe_key=key) for key in ("a", None, "b", "a")]

    results = lossy_jobs(storage.database).enqueue_many(new)

    assert [result.is_deduped for result in results] == [False, False, False, True]
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 3


# -- waking ------------------------------------------------------------------------


def test_enqueue_wakes_the_workers_of_its_queue(storage: Storage) -> None:
    """wait_for_work_returns_on_notify, listen_notify_wakes_wait_for_work"""
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        enqueue(storage, queue_name="mail")
        assert heard.wait_for("mail")
        heard.clear()

        storage.jobs.enqueue_many([NewJob("noop", queue_name="bulk")] * 3)

        assert heard.wait_for("bulk")
    finally:
        listener.stop()


def test_enqueue_wakes_the_workers_that_listened_before_a_close(
    storage: Storage,
) -> None:
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        storage.close()

        enqueue(storage, queue_name="mail")

        assert "mail" in heard.names  # the same process needs no listener for it
    finally:
        listener.stop()


def test_a_deduped_request_wakes_nobody(storage: Storage) -> None:
    """deduped_enqueue_emits_no_extra_event, wait_for_work_times_out_when_idle"""
    heard = Heard()
    enqueue(storage, key="once", queue_name="mail")
    listener = storage.database.listen(heard)
    try:
        enqueue(storage, key="once", queue_name="mail")
        enqueue(storage, queue_name="last")
        assert heard.wait_for("last")
    finally:
        listener.stop()

    assert "mail" not in heard.names


def test_a_job_that_may_be_stored_is_stored_once_under_its_id(
    storage: Storage, sql: Sql
) -> None:
    """The answer to the first call was lost, and the caller asks again."""
    first = storage.jobs.enqueue(NewJob("noop", job_id=ULID))

    again = storage.jobs.enqueue(NewJob("noop", job_id=ULID))
    with_others = storage.jobs.enqueue_many(
        [NewJob("noop"), NewJob("noop", job_id=ULID), NewJob("noop", dedupe_key="k")]
    )

    assert (first.id, again.id, with_others[1].id) == (ULID, ULID, ULID)
    assert not again.is_deduped
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 3


def test_the_id_of_another_job_is_refused(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("noop", job_id=ULID))

    with pytest.raises(InvalidInputError, match="another kind"):
        storage.jobs.enqueue(NewJob("other", job_id=ULID))


def test_the_jobs_of_one_key_keep_their_order(storage: Storage) -> None:
    """Whatever ids the caller has chosen for some of them."""
    first = NewJob("noop", "1", dedupe_key="k", replace=("payload",))
    second = replace(first, payload="2", job_id=f"00{ULID[2:]}")

    results = storage.jobs.enqueue_many([first, second])

    assert [each.is_deduped for each in results] == [False, True]
    assert storage.job_reader.get(results[0].id).payload == "2"


def test_a_job_that_is_stored_is_not_another_ones_holder(storage: Storage) -> None:
    """It comes again with its id, after one that replaces what it holds."""
    storage.jobs.enqueue(NewJob("noop", job_id=ULID, dedupe_key="a"))

    results = storage.jobs.enqueue_many(
        [
            NewJob("noop", "2", dedupe_key="a", replace=("payload",)),
            NewJob("noop", job_id=ULID, dedupe_key="z"),
        ]
    )

    assert [(each.id, each.is_deduped) for each in results] == [
        (ULID, True), (ULID, False)
    ]  # fmt: skip


def test_an_id_that_comes_twice_is_stored_once(storage: Storage) -> None:
    """It does not stand in the way of the other one's key."""
    job = NewJob("noop", job_id=ULID)
    other = NewJob("noop", dedupe_key="k")

    results = storage.jobs.enqueue_many([job, replace(job, dedupe_key="k"), other])

    assert [each.id for each in results[:2]] == [ULID, ULID]
    assert results[2].id != ULID
    assert not results[2].is_deduped
    with pytest.raises(InvalidInputError, match="another kind"):
        storage.jobs.enqueue_many([job, replace(job, kind="other")])


ULID = "01JD8000000000000000000000"
