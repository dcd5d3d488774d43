from __future__ import annotations

import pytest

from flask_forge_jobs.errors import (
    BatchNotFoundError,
    BatchUnfinishedError,
    ConflictError,
    InvalidInputError,
)
from flask_forge_jobs.handlers import batches
from flask_forge_jobs.handlers.bulk import BulkLimits
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model import masking
from flask_forge_jobs.model.batches import ANY_QUEUE, BatchState, NewBatch
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Dead, Done
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import OWNER, finish

MASKING = Redactor()


def make(
    storage: Storage, *queues: str, name: str = "report", **options: object
) -> str:
    """Create a batch of a job in each of some queues."""
    jobs = [NewJob("part", queue_name=each) for each in queues]
    return storage.batches.create(NewBatch(name, **options), jobs).id  # type: ignore[arg-type]


def end(storage: Storage, queue: str, outcome: Done | Dead) -> str:
    """Run one job of a queue; return its id."""
    (job,) = storage.jobs.claim(queue, OWNER)
    finish(storage, job, outcome)
    storage.batches.tend()
    return job.id


def test_pages_of_batches_are_chained_by_their_cursor(storage: Storage) -> None:
    made = [make(storage, "mail", name=str(number)) for number in range(5)]
    end(storage, "mail", Done())

    seen, cursor = [], None
    while True:
        page = batches.list_batches(storage, limit=2, cursor=cursor, redactor=MASKING)
        seen += [row.batch.id for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break
    unfinished = batches.list_batches(storage, is_open=True, redactor=MASKING).rows

    assert seen == made[::-1]
    assert {row.batch.id for row in unfinished} == set(made[1:])


def test_a_page_of_batches_compiles_no_names_of_secrets(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To compile them takes ten times as long as to show a batch."""
    made = [make(storage, "mail", name="password") for _ in range(2)]
    monkeypatch.delattr(masking, "SecretKeys")

    rows = batches.list_batches(storage, redactor=MASKING).rows

    assert [row.batch.id for row in rows] == made[::-1]


def test_a_cursor_is_of_one_list(storage: Storage) -> None:
    for number in range(2):
        make(storage, "mail", name=str(number))
    page = batches.list_batches(storage, limit=1, redactor=MASKING)

    with pytest.raises(InvalidInputError, match="cursor"):
        batches.list_batches(
            storage, is_open=True, cursor=page.next_cursor, redactor=MASKING
        )


def test_data_is_masked_like_a_payload(storage: Storage) -> None:
    secret = make(storage, "mail", data={"password": "x", "year": 7})
    plain = make(storage, "mail", data=[1])

    one, other = (
        batches.read_batch(storage, each, redactor=MASKING) for each in (secret, plain)
    )

    assert (one.data, one.redacted) == ({"password": "[redacted]", "year": 7}, True)
    assert (other.data, other.redacted) == ([1], False)


def test_the_jobs_of_a_batch_come_in_pages_by_state(storage: Storage) -> None:
    batch_id = make(storage, *["mail"] * 5)
    dead, done = end(storage, "mail", Dead("no")), end(storage, "mail", Done())
    (running,) = storage.jobs.claim("mail", OWNER)

    def ids(status: str | None) -> list[str]:
        seen, cursor = [], None
        while True:
            page = batches.jobs_of_batch(
                storage,
                batch_id,
                status=status,
                limit=1,
                cursor=cursor,
                redactor=MASKING,
            )
            seen += [row.id for row in page.rows]
            cursor = page.next_cursor
            if cursor is None:
                return seen

    assert len(ids(None)) == 5
    assert ids(None) == sorted(ids(None))
    assert (ids("dead"), ids("done"), ids("in_progress")) == (
        [dead],
        [done],
        [running.id],
    )
    assert len(ids("pending")) == 2
    assert ids("failed") == []
    batches.retry(storage, batch_id, redactor=MASKING)
    assert ids("dead") == []


def test_a_page_of_a_state_looks_at_some_jobs_only(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_forge_jobs.storage.batch_reader.MAX_WALKED", 2)
    batch_id = make(storage, "mail", "mail", "mail", "last")
    wanted = end(storage, "last", Done())

    first = batches.jobs_of_batch(storage, batch_id, status="done", redactor=MASKING)
    second = batches.jobs_of_batch(
        storage, batch_id, status="done", cursor=first.next_cursor, redactor=MASKING
    )

    assert (first.rows, [row.id for row in second.rows]) == ([], [wanted])


# -- callers that are limited to some queues -------------------------------------------


def test_a_limited_caller_knows_batches_of_own_queues_only(storage: Storage) -> None:
    own = make(storage, "mail", "orders")
    foreign = [make(storage, "bank"), make(storage, "mail", "bank"), make(storage)]
    queues = {"mail", "orders", "other"}

    page = batches.list_batches(storage, queues=queues, redactor=MASKING)

    assert [row.batch.id for row in page.rows] == [own]
    batches.read_batch(storage, own, queues=queues, redactor=MASKING)
    for batch_id in foreign:
        with pytest.raises(BatchNotFoundError):
            batches.read_batch(storage, batch_id, queues=queues, redactor=MASKING)
        with pytest.raises(BatchNotFoundError):
            batches.delete(storage, batch_id, queues=queues)


def test_a_batch_stays_foreign_by_a_job_that_came_later(storage: Storage) -> None:
    added, moved = make(storage, "mail", name="added"), make(storage, "mail")
    storage.batches.add(added, [NewJob("part", queue_name='of "quotes"')])
    storage.queues.ensure("bank")
    (job,) = storage.batches.jobs(moved)
    storage.job_admin.reschedule(job.id, queue_name="bank")

    for batch_id, queue in ((added, 'of "quotes"'), (moved, "bank")):
        with pytest.raises(BatchNotFoundError):
            batches.known_batch(storage, batch_id, {"mail"})
        batches.known_batch(storage, batch_id, {"mail", queue})


def test_a_batch_has_the_queues_of_batches_within_it(storage: Storage) -> None:
    outer = make(storage, "mail")
    middle = make(storage, "mail", within=outer)
    inner = make(storage, "orders", within=middle)

    storage.batches.add(inner, [NewJob("part", queue_name="bank")])

    for batch_id in (outer, middle):
        found = batches.known_batch(storage, batch_id, {"mail", "orders", "bank"})
        assert found.queues == {"mail", "orders", "bank"}
    limited = batches.read_batch(
        storage, inner, queues={"orders", "bank"}, redactor=MASKING
    )
    assert limited.within is None


def test_a_batch_of_very_many_queues_is_of_no_limited_caller(storage: Storage) -> None:
    batch_id = make(storage, *(f"q{number}" for number in range(101)))
    grown = make(storage, *(f"q{number}" for number in range(100)))
    storage.batches.add(grown, [NewJob("part", queue_name="q100")])

    assert storage.batches.get(batch_id).queues == {ANY_QUEUE}
    assert ANY_QUEUE in storage.batches.get(grown).queues


# -- changes ---------------------------------------------------------------------------


def test_a_cancelled_batch_is_ended_and_can_be_deleted(storage: Storage) -> None:
    batch_id = make(storage, "mail")
    with pytest.raises(BatchUnfinishedError):
        batches.delete(storage, batch_id)

    assert batches.cancel(storage, batch_id, redactor=MASKING).batch.dead == 1
    with pytest.raises(ConflictError, match="has ended"):
        batches.cancel(storage, batch_id, redactor=MASKING)
    batches.delete(storage, batch_id)

    with pytest.raises(BatchNotFoundError):
        batches.read_batch(storage, batch_id, redactor=MASKING)


def test_an_open_batch_ends_once_it_is_sealed(storage: Storage) -> None:
    batch_id = storage.batches.create(NewBatch("open"), is_sealed=False).id
    before = batches.read_batch(storage, batch_id, redactor=MASKING)
    after = batches.seal(storage, batch_id, redactor=MASKING)

    assert (before.batch.state, after.batch.state) == (BatchState.OPEN, BatchState.DONE)
    assert (before.progress, after.progress) == (1.0, 1.0)


def test_a_retry_tells_how_many_jobs_run_again(storage: Storage) -> None:
    batch_id = make(storage, "mail", "mail")
    for _ in range(2):
        end(storage, "mail", Dead("no"))

    report = batches.retry(storage, batch_id, redactor=MASKING)

    assert (report.changed, report.batch.batch.dead) == (2, 0)
    assert report.batch.progress == 0.0


def test_a_call_stops_when_its_time_is_over(storage: Storage) -> None:
    no_time = BulkLimits(max_s=0)
    batch_id = make(storage, "mail", "mail")

    cancelled = batches.cancel(storage, batch_id, redactor=MASKING, limits=no_time)
    assert cancelled.batch.state is BatchState.CANCELLING
    storage.batches.tend()
    retried = batches.retry(storage, batch_id, redactor=MASKING, limits=no_time)
    assert (retried.changed, retried.is_complete) == (0, False)
    with pytest.raises(ConflictError, match="repeat to go on"):
        batches.delete(storage, batch_id, limits=no_time)
    assert batches.retry(storage, batch_id, redactor=MASKING).is_complete
    batches.cancel(storage, batch_id, redactor=MASKING)
    batches.delete(storage, batch_id)

    assert batches.list_batches(storage, redactor=MASKING).rows == []


@pytest.mark.parametrize("batch_id", ["", "x", "\0", "é" * 26, "0" * 27, "a" * 100])
def test_text_that_is_no_id_names_no_batch(storage: Storage, batch_id: str) -> None:
    with pytest.raises(BatchNotFoundError):
        batches.read_batch(storage, batch_id, redactor=MASKING)
    with pytest.raises(BatchNotFoundError):
        batches.cancel(storage, batch_id, redactor=MASKING)
    with pytest.raises(BatchNotFoundError):
        batches.seal(storage, batch_id, redactor=MASKING)
