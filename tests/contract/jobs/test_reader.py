"""Reading: single jobs, pages, counts, lag and kinds; and what all that costs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.model.error_groups import ErrorOrder, ErrorRange
from flask_forge_jobs.model.jobs import WAITING, Job, JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.ordering import JobOrder, JobsPage, SortColumn
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome, Throttled
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Row, Transaction
from flask_forge_jobs.storage.jobs import streams
from flask_forge_jobs.storage.jobs.listing import MAX_COMBINATIONS
from flask_forge_jobs.storage.jobs.reader import QueueStatistics
from flask_forge_jobs.storage.jobs.streams import MAX_AT_ONCE
from tests.support.jobs import (
    OWNER,
    QUEUE,
    RETRY_DELAY_S,
    claim_one,
    enqueue,
    enqueue_in,
    finish,
    run,
)
from tests.support.sql import Sql
from tests.support.work import VirtualMachine, blocks_read

OF_MAIL = JobFilter(queues=["mail"])
SOONEST_FIRST = JobOrder(SortColumn.SCHEDULED_AT, descending=False)


READS_OF_ONE_QUEUE: dict[str, Callable[[Storage], object]] = {
    "find": lambda storage: storage.job_reader.find(OF_MAIL, JobOrder(), 10),
    "page": lambda storage: storage.job_reader.page(OF_MAIL, 10),
    "sorted": lambda storage: storage.job_reader.page(
        OF_MAIL, 10, 0, JobOrder(SortColumn.PRIORITY)
    ),
    "kinds": lambda storage: storage.job_reader.kinds("mail"),
    "waiting kinds": lambda storage: storage.job_reader.kinds("mail", WAITING),
    "events": lambda storage: storage.activity.latest_events(10, job_filter=OF_MAIL),
    "errors": lambda storage: storage.errors.page(
        ErrorRange.MONTH, ErrorOrder.COUNT, 10, queue_names=["mail"]
    ),
}


def mixed_jobs(storage: Storage, sql: Sql) -> list[Job]:
    """Make jobs of every kind, queue and state, one second apart; newest first."""
    outcomes: list[Outcome | None] = [
        None, Done(), Failed("x"), Dead("x"), Throttled(900, scope="job"),
    ]  # fmt: skip
    ids = []
    for n, (queue_name, kind, outcome) in enumerate(
        itertools.product(("a", "b", "c"), ("greet", "bill"), outcomes)
    ):
        new = NewJob(kind, f'{{"n":{n},"who":"User {n % 4}"}}', queue_name=queue_name)
        ids.append(storage.jobs.enqueue(new).id)
        if outcome is not None:
            finish(storage, claim_one(storage, queue_name=queue_name), outcome)
        elif n % 2:
            claim_one(storage, queue_name=queue_name)
        sql.run("UPDATE forge_job SET enqueued_at = enqueued_at - 1000000")
    return [storage.job_reader.get(job_id) for job_id in reversed(ids)]


def ids_of(page: JobsPage) -> list[str]:
    return [job.id for job in page.rows]


# -- one job -----------------------------------------------------------------------


def test_get_of_an_unknown_job_is_an_error(storage: Storage) -> None:
    with pytest.raises(JobNotFoundError) as caught:
        storage.job_reader.get("unknown")

    assert caught.value.job_id == "unknown"


# -- counts ------------------------------------------------------------------------


def test_statistics_of_nothing_are_empty(storage: Storage) -> None:
    """oldest_ready_at_ignores_future_and_empty"""
    storage.queues.ensure("empty")

    assert storage.job_reader.statistics() == {}


def test_statistics_count_by_status(storage: Storage) -> None:
    """count_by_status_groups_correctly"""
    for _ in range(4):
        enqueue(storage)
    run(storage, Done())

    assert storage.job_reader.statistics()[QUEUE].counts == QueueCounts(
        pending=3, done=1
    )


def test_statistics_know_every_state_of_every_queue(storage: Storage, sql: Sql) -> None:
    """I8"""
    jobs = mixed_jobs(storage, sql)

    counts = {name: s.counts for name, s in storage.job_reader.statistics().items()}

    assert sorted(counts) == ["a", "b", "c"]
    for name, each in counts.items():
        states = [job.status for job in jobs if job.queue_name == name]
        assert each.total == len(states)
        assert each.scheduled == 2
        assert each.pending == states.count(JobStatus.PENDING) - each.scheduled
        assert each.in_progress == states.count(JobStatus.IN_PROGRESS)
        assert (each.done, each.failed, each.dead) == (2, 2, 2)


def test_a_scheduled_job_counts_as_pending_once_it_is_due(
    storage: Storage, sql: Sql
) -> None:
    """The counts do not wait for a worker to look at the queue."""
    enqueue_in(storage, sql, 600), enqueue_in(storage, sql, 1200)
    before = storage.job_reader.statistics()[QUEUE]
    sql.age(700)

    after = storage.job_reader.statistics()[QUEUE]

    assert before == QueueStatistics(QueueCounts(scheduled=2), oldest_due_age_s=0)
    assert after.counts == QueueCounts(pending=1, scheduled=1)
    assert after.oldest_due_age_s == pytest.approx(100, abs=30)


def test_a_failed_job_stays_failed_while_it_waits(storage: Storage, sql: Sql) -> None:
    enqueue(storage)
    run(storage, Failed("no"))
    sql.age(RETRY_DELAY_S + 100)

    statistics = storage.job_reader.statistics()[QUEUE]

    assert statistics.counts == QueueCounts(failed=1)
    assert statistics.oldest_due_age_s == pytest.approx(100, abs=30)


def test_a_queue_that_was_emptied_is_no_longer_counted(storage: Storage) -> None:
    storage.job_admin.delete(enqueue(storage))

    assert storage.job_reader.statistics() == {}


# -- lag ---------------------------------------------------------------------------


def test_a_state_that_only_a_newer_package_knows_hides_no_other_job(
    storage: Storage, sql: Sql
) -> None:
    """B10"""
    enqueue(storage)
    sql.run(
        "INSERT INTO forge_job_count (queue_name, kind, status, deferred, jobs, "
        "newest_at) VALUES ('default', 'noop', 'hibernating', FALSE, 1, 0)"
    )

    counted = storage.job_reader.statistics()[QUEUE].counts
    shown = storage.job_reader.snapshot().statistics[QUEUE].counts
    sql.run("DELETE FROM forge_job_count WHERE status = 'hibernating'")

    assert counted == shown == QueueCounts(pending=1)


def test_the_lag_is_that_of_the_oldest_due_job(storage: Storage, sql: Sql) -> None:
    """oldest_ready_at_ignores_future_and_empty"""
    enqueue_in(storage, sql, 900)
    assert storage.job_reader.statistics()[QUEUE].oldest_due_age_s == 0
    enqueue(storage)
    sql.age(50)
    enqueue(storage)
    sql.age(100)

    lag_s = storage.job_reader.statistics()[QUEUE].oldest_due_age_s

    assert lag_s == pytest.approx(150, abs=30)


def test_running_and_finished_jobs_have_no_lag(storage: Storage, sql: Sql) -> None:
    enqueue(storage), enqueue(storage), enqueue(storage)
    run(storage, Done())
    run(storage, Dead("x"))
    claim_one(storage)
    sql.age(500)

    assert storage.job_reader.statistics()[QUEUE].oldest_due_age_s == 0


@pytest.mark.parametrize("name", READS_OF_ONE_QUEUE)
def test_kinds_of_other_queues_are_not_read(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    storage.jobs.enqueue_many(
        [NewJob("k", queue_name="mail")]
        + [NewJob(f"invented-{n}", queue_name="other") for n in range(20)]
    )
    transaction: Any = storage.database.read(type)
    real = transaction.all
    sizes: list[int] = []

    def noted(self: Transaction, *args: Any, **parameters: Any) -> Sequence[Row]:
        rows: Sequence[Row] = real(self, *args, **parameters)
        sizes.append(len(rows))
        return rows

    monkeypatch.setattr(transaction, "all", noted)
    READS_OF_ONE_QUEUE[name](storage)

    assert sizes
    assert max(sizes) <= 1


# -- kinds -------------------------------------------------------------------------


def test_kinds_are_sorted_and_known_by_queue(storage: Storage) -> None:
    for kind, queue_name in (
        ("b", "x"),
        ("a", "x"),
        ("B", "y"),
        ("c", "y"),
        ("a", "y"),
    ):
        enqueue(storage, kind, queue_name=queue_name)
    gone = enqueue(storage, "gone", queue_name="x")
    storage.job_admin.delete(gone)

    assert storage.job_reader.kinds() == ["B", "a", "b", "c"]
    assert storage.job_reader.kinds("x") == ["a", "b"]
    assert storage.job_reader.kinds("unknown") == []


# -- scheduled ---------------------------------------------------------------------


def scheduled(
    storage: Storage, queue_name: str | None, limit: int, offset: int = 0
) -> JobsPage:
    """Return a page of scheduled jobs, the earliest first."""
    queues = None if queue_name is None else [queue_name]
    wanted = JobFilter(queues=queues, scheduled=True)
    return storage.job_reader.page(wanted, limit, offset, SOONEST_FIRST)


def test_scheduled_lists_what_starts_later_the_earliest_first(
    storage: Storage, sql: Sql
) -> None:
    """list_scheduled_after_returns_future_pending_ordered"""
    third = enqueue_in(storage, sql, 900)
    enqueue(storage)
    overdue = enqueue_in(storage, sql, 50)
    first = enqueue_in(storage, sql, 300)
    second = enqueue_in(storage, sql, 600)
    enqueue_in(storage, sql, 100, queue_name="other")
    sql.age(60)

    page = scheduled(storage, QUEUE, 10)

    assert ids_of(page) == [first, second, third]
    assert page.total == 3
    assert overdue not in ids_of(page)
    assert ids_of(scheduled(storage, QUEUE, 1)) == [first]
    second_page = scheduled(storage, QUEUE, 1, 1)
    assert (ids_of(second_page), second_page.total) == ([second], 3)


@pytest.mark.parametrize("most", [MAX_AT_ONCE, 0])
def test_scheduled_merges_the_queues(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(streams, "MAX_AT_ONCE", most)
    ids = [
        enqueue_in(storage, sql, 600 + 100 * n, queue_name=f"q{n % 3}")
        for n in range(9)
    ]

    pages = [scheduled(storage, None, 2, offset) for offset in range(0, 9, 2)]

    assert [job_id for page in pages for job_id in ids_of(page)] == ids
    assert {page.total for page in pages} == {9}
    assert ids_of(scheduled(storage, None, 2, 9)) == []
    assert scheduled(storage, "unknown", 2).total == 0


def test_scheduled_leaves_out_jobs_that_wait_for_a_retry(storage: Storage) -> None:
    enqueue(storage)
    run(storage, Failed("no"))

    page = scheduled(storage, QUEUE, 10)

    assert (list(page.rows), page.total) == ([], 0)


# -- pages -------------------------------------------------------------------------


def test_a_page_is_newest_first_with_the_true_total(storage: Storage, sql: Sql) -> None:
    jobs = mixed_jobs(storage, sql)

    page = storage.job_reader.page(JobFilter(), 7)

    assert ids_of(page) == [job.id for job in jobs[:7]]
    assert (page.total, page.limit, page.offset) == (len(jobs), 7, 0)


def test_pages_join_without_gap_or_overlap(storage: Storage, sql: Sql) -> None:
    jobs = mixed_jobs(storage, sql)

    pages = [
        storage.job_reader.page(JobFilter(), 7, offset) for offset in range(0, 35, 7)
    ]

    assert [job.id for page in pages for job in page.rows] == [job.id for job in jobs]
    assert {page.total for page in pages} == {len(jobs)}


def test_jobs_of_one_instant_are_ordered_by_id(storage: Storage, sql: Sql) -> None:
    ids = [enqueue(storage, kind) for kind in ("b", "a", "b", "c", "a", "a")]
    sql.run("UPDATE forge_job SET enqueued_at = 1000")

    rows = storage.job_reader.page(JobFilter(), 10).rows

    assert [job.id for job in rows] == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    "wanted",
    [
        JobFilter(queues=["a"]),
        JobFilter(queues=["a", "c"], kinds=["bill"]),
        JobFilter(kinds=["greet"]),
        JobFilter(statuses=[JobStatus.FAILED, JobStatus.PENDING]),
        JobFilter(queues=["b"], kinds=["greet"], statuses=[JobStatus.DONE]),
        JobFilter(queues=["unknown"]),
        JobFilter(kinds=["unknown"]),
        JobFilter(payload_search="user 3"),
        JobFilter(payload_search='"n":1'),
        JobFilter(queues=["c"], payload_search="User 1"),
        JobFilter(kinds=["bill"], statuses=[JobStatus.DEAD], payload_search="USER"),
    ],
    ids=repr,
)
def test_filters_match_beyond_the_first_page_and_totals_are_true(
    storage: Storage, sql: Sql, wanted: JobFilter
) -> None:
    search = (wanted.payload_search or "").lower()
    matching = [
        job.id
        for job in mixed_jobs(storage, sql)
        if (not wanted.queues or job.queue_name in wanted.queues)
        and (not wanted.kinds or job.kind in wanted.kinds)
        and (not wanted.statuses or job.status in wanted.statuses)
        and search in job.payload.lower()
    ]

    found: list[str] = []
    for offset in range(0, len(matching) + 2, 2):
        page = storage.job_reader.page(wanted, 2, offset)
        assert page.total == len(matching)
        found.extend(job.id for job in page.rows)

    assert found == matching


def test_payloads_are_searched_as_they_are_shown_in_either_case(
    storage: Storage,
) -> None:
    payloads = [
        {"name": "Größe ÄRGER", "n": 100},
        {"блюдо": "Щи", "e9": 1},
        {"text": "\\u00e9 as it is", "path": "C:\\Temp\\new"},
        {"text": "caf\u00e9 \x1f\x7f 100% _sure_"},
        {"glyph": "😀中文", "quote": 'say "É"\nnext'},
        {"plain": "a quiet Fact of 9a, 00e9 and u00"},
    ]
    texts = [
        "GRÖSSE", "GRÖßE", "ärger", "ЩИ", "щи", '"блюдо"', "é", "É", "u00e9", r"\u00e9",
        r"\\u00e9", "00e9", "e9", "9a", "9 ", "fact", r"C:\\TEMP", r"\\N", r"C:\T",
        r"\u001F", "\x1f", "\x01", "\x7f", "100%", "%", "_SURE_", "_", "a_s", "u00",
        "😀中", "文", "d83d", r'\"é\"', r"\n", "nnext", "}", '{"', ".*", "[e]",
    ]  # fmt: skip
    ids = [storage.jobs.enqueue(NewJob("k", each)).id for each in payloads]
    shown = [json.dumps(p, ensure_ascii=False, separators=(",", ":")) for p in payloads]

    for text in texts:
        page = storage.job_reader.page(JobFilter(payload_search=text), 10)
        wanted = [
            job_id
            for job_id, each in zip(ids, shown, strict=True)
            if text.lower() in each.lower()
        ]
        assert sorted(ids_of(page)) == wanted, text
        assert page.total == len(wanted), text


def test_a_range_of_instants_includes_both_ends(storage: Storage, sql: Sql) -> None:
    jobs = mixed_jobs(storage, sql)
    newest, oldest = jobs[4], jobs[9]

    for search in (None, "user"):
        wanted = JobFilter(
            enqueued_from=oldest.enqueued_at,
            enqueued_to=newest.enqueued_at,
            payload_search=search,
        )
        page = storage.job_reader.page(wanted, 4)
        assert ids_of(page) == [job.id for job in jobs[4:8]]
        assert page.total == 6
        rest = storage.job_reader.page(wanted, 4, 4)
        assert ids_of(rest) == [job.id for job in jobs[8:10]]


def test_a_range_of_instants_may_be_open(storage: Storage, sql: Sql) -> None:
    jobs = mixed_jobs(storage, sql)
    at = jobs[3].enqueued_at

    older = storage.job_reader.page(JobFilter(enqueued_to=at), 100)
    newer = storage.job_reader.page(JobFilter(enqueued_from=at), 100)

    assert ids_of(older) == [job.id for job in jobs[3:]]
    assert ids_of(newer) == [job.id for job in jobs[:4]]
    ages = JobFilter(
        enqueued_from=datetime.min.replace(tzinfo=UTC),
        enqueued_to=datetime.max.replace(tzinfo=UTC),
    )
    assert storage.job_reader.page(ages, 1).total == len(jobs)
    none = JobFilter(enqueued_from=jobs[0].enqueued_at + timedelta(days=1))
    assert (storage.job_reader.page(none, 1).total) == 0


def test_a_page_of_no_rows_still_has_its_total(storage: Storage) -> None:
    enqueue(storage)

    for limit, offset in ((0, 0), (5, 1), (5, 10_000)):
        page = storage.job_reader.page(JobFilter(), limit, offset)
        assert (list(page.rows), page.total) == ([], 1)


def test_a_deep_page_is_as_right_as_the_first(storage: Storage, sql: Sql) -> None:
    sql.seed(6000)

    page = storage.job_reader.page(JobFilter(), 3, 5990)

    assert [job.id for job in page.rows] == ["seed-5991", "seed-5992", "seed-5993"]
    assert page.total == 6000


def test_a_filter_that_matches_very_many_combinations(
    storage: Storage, sql: Sql
) -> None:
    count = MAX_COMBINATIONS + 6
    results = storage.jobs.enqueue_many(
        [NewJob(f"kind-{n:03}", queue_name=f"q{n % 5}") for n in range(count)]
    )
    sql.run("UPDATE forge_job SET enqueued_at = 1000")
    kinds = [f"kind-{n:03}" for n in range(count - 1)]

    page = storage.job_reader.page(JobFilter(kinds=kinds), 5, 1)

    ids = sorted((r.id for r in results[:-1]), reverse=True)
    assert [job.id for job in page.rows] == ids[1:6]
    assert page.total == count - 1


def test_pages_join_whatever_number_of_combinations_they_are_picked_from(
    storage: Storage, sql: Sql
) -> None:
    kinds = [f"kind-{n:03}" for n in range(MAX_COMBINATIONS + 6)]
    # Every fourth job shares its instant with its neighbours of other kinds.
    order = [kinds[(n * 37) % len(kinds)] for n in range(5 * len(kinds))]
    results = storage.jobs.enqueue_many([NewJob(kind) for kind in order])
    for n, result in enumerate(results):
        sql.run("UPDATE forge_job SET enqueued_at = ? WHERE id = ?", n // 4, result.id)
    expected = [result.id for result in reversed(results)]

    found: list[str] = []
    for offset in range(0, len(expected), 25):
        page = storage.job_reader.page(JobFilter(), 25, offset)
        found.extend(job.id for job in page.rows)

    assert found == expected


@pytest.mark.parametrize(
    ("payload", "search", "is_found"),
    [
        ('"50% off"', "50%", True),
        ('"50 off"', "50%", False),
        ('"a_b"', "a_b", True),
        ('"axb"', "a_b", False),
        ('"c:\\\\temp"', "c:\\\\temp", True),
        ('{"say":"hi"}', '"say":"h', True),
        ('"\\u00fcber"', "über", True),
        ('"\\u00fcber"', "uber", False),
        ('"x\\ud83d\\ude42"', "🙂", True),
        ('"UPPER"', "upper", True),
    ],
)
def test_a_search_in_payloads_is_literal(
    storage: Storage, payload: str, search: str, *, is_found: bool
) -> None:
    storage.jobs.enqueue(NewJob("noop", payload))

    assert (
        storage.job_reader.page(JobFilter(payload_search=search), 5).total == is_found
    )


# -- cost --------------------------------------------------------------------------


def test_deferred_jobs_cost_a_claim_nothing(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when there are ten times as many."""
    machine = VirtualMachine(monkeypatch)
    storage.recorder.on_activity = lambda: None  # steps of its thread would count
    storage.close()  # steps are counted on connections that are opened from now on
    storage.queues.ensure(QUEUE)
    calls: dict[str, Callable[[], object]] = {
        "claim": partial(storage.jobs.claim, QUEUE, OWNER, 2),
        "last claim": partial(storage.jobs.claim, QUEUE, OWNER, 9),
        "idle": partial(storage.jobs.claim, QUEUE, OWNER, 8),
        "short": partial(storage.jobs.exchange, OWNER, (), {QUEUE: 8}, promote=False),
        "poll": partial(storage.jobs.next_due_in_s, [QUEUE]),
        "statistics": storage.job_reader.statistics,
        "page": partial(storage.job_reader.page, JobFilter(queues=[QUEUE]), 5),
    }

    def work() -> dict[str, int]:
        storage.jobs.enqueue_many([NewJob("noop")] * 9)
        if storage.backend == "sqlite":
            return {name: machine.steps(call) for name, call in calls.items()}
        return {name: blocks_read(storage, sql, each) for name, each in calls.items()}

    sql.seed(2_000, due_in_s=86_400)
    few = work()
    sql.seed(18_000, due_in_s=86_400, prefix="more")
    many = work()

    assert min(few.values()) > 0, few
    assert all(many[name] <= 2 * few[name] for name in calls), (few, many)


def test_a_snapshot_is_what_the_single_reads_say(storage: Storage) -> None:
    enqueue(storage)
    storage.queues.ensure("empty")
    slot = SlotReport("default-0-host", "default")
    storage.workers.beat("host", None, ["default"], [slot])

    snapshot = storage.job_reader.snapshot()

    queues = [queue.settings for queue in snapshot.overview]
    assert queues == storage.queues.all()
    assert snapshot.statistics == storage.job_reader.statistics()
    slots = [slot for queue in snapshot.overview for slot in queue.slots]
    assert slots == storage.workers.slots()
    assert len(slots) == 1
    silent = storage.job_reader.snapshot(within_s=-1.0)
    assert [queue.slots for queue in silent.overview] == [(), ()]


def test_a_snapshot_of_the_same_is_the_same(storage: Storage) -> None:
    storage.queues.ensure(QUEUE)
    empty = storage.job_reader.snapshot()
    again = storage.job_reader.snapshot()
    enqueue(storage)
    full = storage.job_reader.snapshot()
    storage.queues.change(QUEUE, {"paused": True})
    paused = storage.job_reader.snapshot()

    assert again is empty
    assert empty.statistics == {}
    assert full.statistics[QUEUE].counts.pending == 1
    assert [queue.settings.paused for queue in full.overview] == [False]
    assert [queue.settings.paused for queue in paused.overview] == [True]
