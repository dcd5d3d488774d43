"""Defaults of a database or a role that an administrator may have set."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.support.jobs import OWNER, QUEUE, run
from tests.support.sql import UNDER_TEST, Sql
from tests.support.threads import Heard, run_together
from tests.support.waiting import wait_until

IDLE_MS = 600
WAIT = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
# Each would end, slow down or garble something if it were in force.
HARSH = {
    "idle_session_timeout": f"{IDLE_MS}",
    "idle_in_transaction_session_timeout": "1",
    "transaction_timeout": "1000",
    "statement_timeout": "1000",
    "lock_timeout": "1",
    "default_transaction_isolation": "'serializable'",
    "default_transaction_deferrable": "on",
    "client_encoding": "'LATIN1'",
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "'iso_8601'",
    "TimeZone": "'Asia/Kathmandu'",
    "bytea_output": "'escape'",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "enable_nestloop": "off",
    "enable_indexscan": "off",
    "plan_cache_mode": "'force_custom_plan'",
    "debug_parallel_query": "on",
    "jit": "on",
    "jit_above_cost": "0",
}
LISTENERS = (
    "SELECT pid, extract(epoch FROM clock_timestamp() - state_change) * 1000 "
    "FROM pg_stat_activity WHERE datname = current_database() "
    "AND query LIKE 'LISTEN %idle_session_timeout%' AND state = 'idle' "
    "AND pid <> pg_backend_pid()"
)


@pytest.fixture
def beside(own_settings: DatabaseSettings) -> Sql:
    """A session with the usual defaults in a database whose new ones have others."""
    own = Sql(own_settings)
    known = {name for (name,) in own.run("SELECT name FROM pg_settings")}
    for name, value in HARSH.items():
        if name in known:  # by the version of the server
            own.run(f"ALTER DATABASE {own_settings.database} SET {name} = {value}")
    return own


@pytest.fixture
def harsh(own_settings: DatabaseSettings, beside: Sql) -> Iterator[Storage]:
    """A storage on that database, which has created its tables."""
    beside.run("SELECT 1")
    with contextlib.closing(open_storage(own_settings, jitter=None)) as opened:
        opened.open()
        yield opened


def test_jobs_are_stored_claimed_finished_and_read_as_ever(harsh: Storage) -> None:
    payload = '{"text":"\\u00e4 \\\\ \\u20ac","ratio":0.1}'
    job = NewJob("noop", payload, timeout_s=1 / 3, dedupe_key="it's \\ a key")

    (stored,) = harsh.jobs.enqueue_many([job])
    again = harsh.jobs.enqueue(job)
    (claimed,) = harsh.jobs.claim(QUEUE, OWNER)
    harsh.jobs.exchange(OWNER, [JobUpdate(claimed, JobStatus.DONE)], {})

    assert again.is_deduped
    assert claimed.payload == payload
    ended = harsh.job_reader.get(stored.id)
    assert ended.status is JobStatus.DONE
    assert ended.timeout_s == 1 / 3
    assert ended.completed_at is not None
    assert ended.completed_at >= ended.enqueued_at
    assert harsh.job_reader.statistics()[QUEUE].counts.done == 1


def test_what_is_missing_beside_others_stays_so(harsh: Storage) -> None:
    harsh.queues.ensure("mail")
    harsh.jobs.enqueue_many([NewJob("noop")] * 2)
    claimed = harsh.jobs.claim(QUEUE, OWNER, 2)
    results = ("1", None)

    ends = [
        JobUpdate(job, JobStatus.DONE, result=result)
        for job, result in zip(claimed, results, strict=True)
    ]
    harsh.jobs.exchange(OWNER, ends, {QUEUE: 1, "mail": 1})

    stored = [harsh.job_reader.get(job.id).result for job in claimed]
    assert stored == list(results)


@pytest.mark.parametrize(
    ("payload", "search", "jobs"),
    [
        ('"50% off"', "50%", 1),
        ('"50 off"', "50%", 0),
        ('"axb"', "a_b", 0),
        ('"c:\\\\temp"', "c:\\\\temp", 1),
        ('"\\\\u00fcber"', "über", 0),
        ('"\\u00fcber"', "über", 1),
        ('"uber"', "\\u", 0),
    ],
)
def test_payloads_and_errors_are_searched_as_ever(
    harsh: Storage, payload: str, search: str, jobs: int
) -> None:
    harsh.jobs.enqueue(NewJob("noop", payload, max_attempts=1))
    run(harsh, Dead(json.loads(payload)))

    shown = harsh.job_reader.page(JobFilter(payload_search=search), 5)
    failed = harsh.job_reader.page(JobFilter(error_search=json.loads(payload)), 5)

    assert shown.total == jobs
    assert failed.total == 1


def test_a_lock_is_waited_for(harsh: Storage, beside: Sql) -> None:
    harsh.queues.ensure(QUEUE)
    with contextlib.closing(beside.connect()) as other:
        cursor = other.cursor()
        cursor.execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT 1 FROM forge_queue FOR UPDATE")

        def let_go() -> None:
            wait_until(lambda: beside.value(WAIT), "the change waits")
            cursor.execute("ROLLBACK")

        run_together([lambda: harsh.queues.change(QUEUE, {"max_workers": 3}), let_go])

    assert harsh.queues.get(QUEUE).max_workers == 3


def test_a_listener_that_hears_nothing_keeps_its_session(
    harsh: Storage, beside: Sql
) -> None:
    heard = Heard()
    listener = harsh.database.listen(heard)
    assert heard.wait_for(None)
    wait_until(lambda: beside.run(LISTENERS), "its session has our limits")
    ((first, _),) = beside.run(LISTENERS)

    wait_until(
        lambda: any(idle_ms > 2 * IDLE_MS for _, idle_ms in beside.run(LISTENERS)),
        "the listener was idle for long",
    )

    assert [pid for pid, _ in beside.run(LISTENERS)] == [first]
    listener.stop()


def test_a_session_of_the_pool_may_be_idle(harsh: Storage, beside: Sql) -> None:
    sessions = "SELECT pid FROM pg_stat_activity WHERE " + UNDER_TEST
    harsh.queues.all()
    # A session of the opening may be about to end.
    latest = beside.value(f"{sessions} ORDER BY state_change DESC LIMIT 1")

    wait_until(
        lambda: beside.value(
            "SELECT bool_and(clock_timestamp() - state_change > "
            f"{2 * IDLE_MS} * interval '1 ms') FROM pg_stat_activity WHERE {UNDER_TEST}"
        ),
        "the sessions were idle for long",
    )

    assert (latest,) in beside.run(sessions)
