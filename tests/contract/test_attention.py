"""What needs attention, made true in both databases."""

from __future__ import annotations

import contextlib
import threading
from datetime import datetime, timedelta

import pytest

from flask_forge_jobs.handlers.attention.cache import look
from flask_forge_jobs.handlers.attention.report import Report, report
from flask_forge_jobs.model.attention import Facts, KindFacts
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.metrics import SampleSums, floor_to
from flask_forge_jobs.model.outcomes import Dead, Done, Failed
from flask_forge_jobs.model.proportions import Failures
from flask_forge_jobs.model.queues import ChangeNote, QueueCounts
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.model.workers import ServiceAge, SlotReport
from flask_forge_jobs.storage import attention
from flask_forge_jobs.storage.base import Storage
from tests.support.failing import fail
from tests.support.figures import PastProcess
from tests.support.jobs import claim_one, enqueue, rescue_all, run
from tests.support.runtimes import HeldTask, registry_of, running
from tests.support.sql import Sql
from tests.support.waiting import wait_until


def now(sql: Sql) -> datetime:
    return from_micros(sql.now_us())


def facts(storage: Storage, sql: Sql) -> Facts:
    return look(storage, now(sql))


def said(storage: Storage, sql: Sql) -> Report:
    return report(facts(storage, sql))


def codes(storage: Storage, sql: Sql) -> list[str]:
    return [sentence.code for sentence in said(storage, sql).sentences]


def serve(storage: Storage, *queues: str, busy: int = 0, slots: int = 1) -> None:
    """Show a live worker with some slots in each queue."""
    reports = [
        SlotReport(f"{name}-{n}-W-1", name, "JOB" if n < busy else None)
        for name in queues
        for n in range(slots)
    ]
    storage.workers.beat("W", "worker-1", queues, reports)


# -- facts -------------------------------------------------------------------------


def test_facts_of_an_empty_database(storage: Storage, sql: Sql) -> None:
    found = facts(storage, sql)

    assert (found.queues, found.kinds, found.workers) == ([], [], [])
    assert abs(found.at - now(sql)) < timedelta(seconds=30)
    assert report(found).sentences == []


def test_counts_of_queues_and_kinds(storage: Storage, sql: Sql) -> None:
    for _ in range(5):
        enqueue(storage, "send", queue_name="mail")
    enqueue(storage, "bill", queue_name="bank")
    run(storage, Done(), queue_name="mail")
    run(storage, Failed("no"), queue_name="mail")
    run(storage, Dead("no"), queue_name="mail")
    claim_one(storage, queue_name="mail")
    storage.jobs.enqueue(NewJob("send", queue_name="mail", delay=timedelta(hours=1)))

    found = facts(storage, sql)

    bank, mail = found.queues
    assert (bank.name, bank.counts) == ("bank", QueueCounts(pending=1))
    assert mail.counts == QueueCounts(1, 1, 1, 1, 1, 1)
    assert [(k.queue_name, k.kind, k.waiting, k.dead) for k in found.kinds] == [
        ("bank", "bill", 1, 0),
        ("mail", "send", 3, 1),
    ]


def test_a_due_job_that_no_worker_has_promoted_waits(
    storage: Storage, sql: Sql
) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail", delay=timedelta(hours=1)))
    sql.age(3600 + 90)

    [mail] = facts(storage, sql).queues

    assert mail.counts == QueueCounts(pending=1)
    assert 90 <= mail.oldest_wait_s < 120


def test_runs_of_the_hour_the_hour_before_and_the_day(
    storage: Storage, sql: Sql
) -> None:
    at = now(sql).replace(hour=12, minute=45, second=0, microsecond=0)
    past = PastProcess(storage, _us(at))

    def runs(ago: timedelta, **ends: int) -> None:
        past.clock.move((at - ago - from_micros(past.clock.now_us())).total_seconds())
        past.runs("mail", "send", [10] * ends.pop("done", 0), **ends)

    runs(timedelta(hours=20), done=7, retried=1)
    runs(timedelta(hours=2), done=3, retried=2)
    # Half of this half hour lies within the last hour.
    runs(timedelta(minutes=70), done=4, dead=2)
    runs(timedelta(minutes=5), done=5, dead=2, retried=1)

    [kind] = storage.attention.facts(at).kinds

    assert (kind.completed, kind.given_up) == (7, 3)
    assert kind.hour == Failures(4, 11)
    assert kind.hour_before == Failures(2, 5)
    assert kind.day == Failures(4, 16)


def _us(at: datetime) -> int:
    return int(at.timestamp()) * SECOND_US


def test_two_reads_at_most_and_none_of_jobs(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_much(storage, sql)
    fail(storage, Failed("refused"), "mail", "send")
    asked = []
    caller = threading.get_ident()
    adapter = type(storage.database)
    for name in ("read", "read_one", "write", "execute"):
        real = getattr(adapter, name)

        def ask(*args: object, real=real, name=name, **more: object) -> object:  # type: ignore[no-untyped-def]
            if threading.get_ident() == caller:
                asked.append((name, args[1]))
            return real(*args, **more)

        monkeypatch.setattr(adapter, name, ask)

    assert codes(storage, sql)

    assert asked == [("read_one", "attention"), ("read_one", "common_errors")]


# -- each sentence -----------------------------------------------------------------


def test_no_worker(storage: Storage, sql: Sql) -> None:
    enqueue(storage, queue_name="mail")

    assert codes(storage, sql) == ["no_worker"]


def test_a_queue_without_a_worker(storage: Storage, sql: Sql) -> None:
    """A real worker serves another queue; the one that served this one is gone."""
    enqueue(storage, queue_name="mail")
    storage.workers.beat("L", "worker-2", ["mail"], [])
    sql.age(61)
    with running(storage, registry_of(), queues=["bills"]):
        wait_until(lambda: facts(storage, sql).served == {"bills"}, "it serves")
        [first, *_] = said(storage, sql).sentences

    assert first.code == "queue_unserved"
    assert "Its last worker, worker-2, was last seen 1m ago." in first.text


def test_a_queue_without_slots(storage: Storage, sql: Sql) -> None:
    enqueue(storage, queue_name="mail")
    storage.queues.change("mail", {"max_workers": 0})
    serve(storage, "mail", slots=0)

    assert codes(storage, sql) == ["queue_without_slots"]


def test_a_full_queue(storage: Storage, sql: Sql) -> None:
    serve(storage, "mail")
    enqueue(storage, queue_name="mail")
    storage.queues.change("mail", {"max_pending": 1})

    assert codes(storage, sql) == ["queue_full"]


def test_a_paused_queue(storage: Storage, sql: Sql) -> None:
    enqueue(storage, queue_name="mail")
    serve(storage, "mail")
    note = ChangeNote("ops", "CDN migration")
    storage.queues.set_paused_many(["mail"], paused=True, note=note)

    [sentence] = said(storage, sql).sentences

    assert sentence.code == "queue_paused"
    assert sentence.text.startswith("mail is paused by ops, “CDN migration”, for ")


def test_a_queue_that_is_behind(storage: Storage, sql: Sql) -> None:
    """A real worker with one slot, which a job keeps busy."""
    held = HeldTask()
    for _ in range(2):
        enqueue(storage, "held", queue_name="mail")
    with running(storage, registry_of(held), queues=["mail"], threads=1):
        held.wait_for_start()
        is_busy = lambda: [q.busy_slots for q in facts(storage, sql).queues] == [1]  # noqa: E731
        wait_until(is_busy, "the worker reports its job")
        sql.run("UPDATE forge_job SET scheduled_at = scheduled_at - 301000000")

        found = facts(storage, sql)
        [sentence] = report(found).sentences
        held.release.set()

    assert (found.running, found.capacity) == (1, 1)
    assert [(each.threads, each.slots) for each in found.workers] == [(1, 1)]
    assert sentence.text == (
        "mail is behind: the oldest job waits 5m; its only slot is busy."
    )


def test_a_queue_that_cools_down(storage: Storage, sql: Sql) -> None:
    serve(storage, "mail")
    enqueue(storage, queue_name="mail")
    [job] = storage.jobs.claim("mail", "W")
    throttled = JobUpdate(
        job, JobStatus.PENDING, delay_s=60.0, uncount=True, cool_down_s=60.0
    )
    storage.jobs.finish("W", [throttled])
    enqueue(storage, queue_name="mail")

    assert codes(storage, sql) == ["queue_cools_down"]
    sql.age(61)
    serve(storage, "mail")
    assert codes(storage, sql) == []


def fails_much(storage: Storage, sql: Sql) -> None:
    at = _us(now(sql))
    past = PastProcess(storage, at - 12 * 3600 * SECOND_US)
    past.runs("mail", "send", [10] * 200, retried=2)
    past.clock.move(12 * 3600 - 60)
    past.runs("mail", "send", [10] * 20, retried=20, dead=2)
    serve(storage, "mail")


def test_a_kind_that_fails_more_than_usual(storage: Storage, sql: Sql) -> None:
    fails_much(storage, sql)
    for message in ("no answer in 30 s", "no answer in 31 s", "refused"):
        fail(storage, Failed(message), "mail", "send")

    [sentence] = said(storage, sql).sentences

    assert sentence.code == "kind_fails"
    assert sentence.text.startswith("send fails more than usual: ")
    assert sentence.text.endswith("Most say no answer in <n> s.")


@pytest.mark.parametrize("is_folded", [False, True])
def test_the_most_common_error_of_each_kind(storage: Storage, is_folded: bool) -> None:
    for queue_name, kind, message in (
        ("mail", "send", "one"),
        ("mail", "send", "two"),
        ("mail", "send", "two"),
        ("bank", "send", "three"),
        ("mail", "other", "four"),
    ):
        fail(storage, Dead(message), queue_name, kind)
    if is_folded:
        storage.errors.fold()
    asked = [
        KindFacts("mail", "send"), KindFacts("bank", "send"), KindFacts("mail", "none")
    ]  # fmt: skip

    assert storage.attention.common_errors(asked) == {
        ("mail", "send"): "two",
        ("bank", "send"): "three",
    }


def test_an_error_of_long_ago_is_not_common_now(storage: Storage, sql: Sql) -> None:
    fail(storage, Dead("old"), "mail", "send")
    sql.run("UPDATE forge_error_change SET at = at - 7300000000")

    assert storage.attention.common_errors([KindFacts("mail", "send")]) == {}


def test_a_kind_that_no_worker_knows(storage: Storage, sql: Sql) -> None:
    """A real worker says which kinds it knows."""
    serve(storage, "bills")
    with running(storage, registry_of(HeldTask("send")), queues=["mail"]):
        wait_until(lambda: "mail" in facts(storage, sql).served, "it serves")
        enqueue(storage, "sned", queue_name="mail")
        enqueue(storage, "sned", queue_name="bills")  # whose worker does not say
        sentences: list[Sentence] = []

        # Now and then the worker tries the job, which does not wait meanwhile.
        def is_said() -> bool:
            sentences[:] = said(storage, sql).sentences
            return bool(sentences)

        wait_until(is_said, "it has told its kinds")

    [sentence] = sentences
    assert (sentence.code, sentence.evidence["queue"]) == ("kind_unknown", "mail")


def test_one_worker_of_a_queue_that_knows_a_kind_is_enough() -> None:
    workers = [
        ("mail,bills", "\nsend\n"),
        ("mail", "\nsned\n"),
        ("bank", "\nsend\n"),
        ("bank", ""),
        ("sms", "\n"),
        (None, None),
    ]

    assert attention._known_kinds(workers) == {
        "mail": {"send", "sned"}, "bills": {"send"}, "bank": None, "sms": set()
    }  # fmt: skip


def test_a_schedule_that_failed_and_one_that_is_late(
    storage: Storage, sql: Sql
) -> None:
    for name in ("nightly", "hourly", "well"):
        storage.cron.create(ScheduleDefinition(name, "report", "0 3 * * *"))
    serve(storage, "mail")
    assert codes(storage, sql) == []
    late = "UPDATE forge_cron SET next_fire_at = ? {} WHERE name = ?"
    sql.run(late.format(""), sql.now_us() - 61 * SECOND_US, "hourly")
    sql.run(late.format(", last_error = 'no room'"), sql.now_us(), "nightly")

    texts = [sentence.text for sentence in said(storage, sql).sentences]

    assert [text.partition(" ")[0] for text in texts] == ["hourly", "nightly"]
    assert texts[0].endswith(": it is overdue.")
    assert texts[1].endswith(": no room.")


def test_a_lost_worker_and_its_jobs(storage: Storage, sql: Sql) -> None:
    """The jobs are rescued as the reaper does."""
    for _ in range(2):
        enqueue(storage, "send", queue_name="mail", max_attempts=1)
    storage.jobs.claim("mail", "L", 2)
    storage.workers.beat("L", "worker-2", ["mail"], [])
    serve(storage, "mail")
    assert rescue_all(storage) == 2
    storage.workers.reap(["L"])

    [sentence] = said(storage, sql).sentences

    assert sentence.code == "worker_lost"
    assert sentence.text.startswith("worker-2 is lost: ")
    assert (sentence.evidence["rescued"], sentence.evidence["dead"]) == (2, 2)


def test_a_worker_that_is_silent(storage: Storage, sql: Sql) -> None:
    serve(storage, "mail")
    sql.age(61)

    assert codes(storage, sql) == ["worker_lost"]


def test_a_duty_that_does_not_tick(storage: Storage, sql: Sql) -> None:
    late = ServiceAge("reaper", 300.0, 15.0)
    storage.workers.beat("W", "worker-1", ["mail"], [], [late])

    assert codes(storage, sql) == ["duty_late"]


def test_a_database_that_answers_slowly(storage: Storage, sql: Sql) -> None:
    at = sql.now_us()
    storage.workers.beat("W", "worker-1", ["mail"], [])
    usual = {
        (1800, floor_to(at, 3600) - n * 3600 * SECOND_US): _times(0.004)
        for n in range(1, 8)
    }
    storage.samples.put("W", usual)
    assert codes(storage, sql) == []
    storage.samples.put("W", {(60, floor_to(at, 60)): _times(0.4)})

    [sentence] = said(storage, sql).sentences

    assert sentence.code == "database_slow"
    assert sentence.evidence["calls"] == "reads"


def _times(read_s: float) -> SampleSums:
    sums = SampleSums(samples=1)
    sums.reads.record_many([int(read_s * SECOND_US)] * 20)
    return sums


def test_a_rate_limit_that_is_used_up(storage: Storage, sql: Sql) -> None:
    storage.rate_limits.put("api", 1, 0.5)
    serve(storage, "mail")
    for _ in range(40):
        storage.rate_limits.take_turn("api")

    [sentence] = said(storage, sql).sentences

    assert sentence.code == "rate_limit_used_up"
    assert sentence.text.startswith("api is used up: ")
    assert 37 <= int(str(sentence.evidence["tokens_due"])) <= 39


def test_an_open_transaction(
    storage: Storage, sql: Sql, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite cannot tell."""
    monkeypatch.setattr(attention, "OLD_TRANSACTION_S", 0.0)
    if backend == "sqlite":
        assert codes(storage, sql) == []
        return
    with contextlib.closing(sql.connect()) as reader:
        reader.cursor().execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        pid = reader.info.backend_pid

        [sentence] = said(storage, sql).sentences

    assert sentence.code == "transaction_open"
    assert f"session {pid} of beside the stores" in sentence.text


def test_a_file_whose_write_lock_is_kept(
    storage: Storage, sql: Sql, backend: str
) -> None:
    """On PostgreSQL nobody can keep it."""
    serve(storage, "mail")
    enqueue(storage, queue_name="mail")
    sql.age(61)
    with sql.write_lock():
        locked = codes(storage, sql)

    assert locked == (
        ["database_locked"] if backend == "sqlite" else ["no_worker", "worker_lost"]
    )
    assert codes(storage, sql) == ["no_worker", "worker_lost"]


def test_a_job_on_hold_for_a_dead_one(storage: Storage, sql: Sql) -> None:
    serve(storage, "mail", "bank")
    parent = enqueue(storage, "check", queue_name="mail")
    held = NewJob("send", queue_name="bank", after=[parent], on_parent_dead="hold")
    [first, second] = [storage.jobs.enqueue(held).id for _ in range(2)]
    assert codes(storage, sql) == []
    run(storage, Dead("ValueError: no date"), queue_name="mail")

    [sentence] = said(storage, sql).sentences

    assert sentence.text == (
        f"send in bank is on hold: 2 jobs wait for job {parent} (check), which is "
        "dead, “ValueError: no date”."
    )
    assert sentence.evidence["waiting"] == [first, second]
    assert sentence.action is not None
    assert sentence.action.path == f"/v1/jobs/{parent}/retry"
    storage.links.release(first)
    [sentence] = said(storage, sql).sentences
    assert sentence.evidence["waiting"] == [second]
    storage.job_admin.requeue(parent)
    assert codes(storage, sql) == []
    run(storage, Dead("no"), queue_name="mail")
    assert codes(storage, sql) == ["jobs_held"]
    storage.job_admin.change(JobAction.DELETE, [parent])
    [sentence] = said(storage, sql).sentences
    assert sentence.text.endswith("(check), which was deleted.")
    storage.job_admin.change(JobAction.DELETE, [second])
    assert codes(storage, sql) == []


def test_a_job_that_is_stored_after_the_death_is_on_hold(
    storage: Storage, sql: Sql
) -> None:
    serve(storage, "mail")
    parent = enqueue(storage, "check", queue_name="mail")
    run(storage, Dead("no"), queue_name="mail")
    held = NewJob("send", queue_name="mail", after=[parent], on_parent_dead="hold")
    storage.jobs.enqueue(held)

    assert codes(storage, sql) == ["jobs_held"]


def test_a_batch_that_cannot_end(storage: Storage, sql: Sql) -> None:
    serve(storage, "mail")
    inner = storage.batches.create(NewBatch("parts"), [NewJob("a", queue_name="mail")])
    held = NewJob("bind", queue_name="mail", after=[inner.id], on_parent_dead="hold")
    outer = storage.batches.create(NewBatch("report"), [held])
    run(storage, Dead("no"), queue_name="mail")
    storage.batches.tend()

    [sentence] = said(storage, sql).sentences

    assert sentence.code == "batch_stands"
    assert sentence.text == (
        f"Batch {outer.id} (report) cannot end: 1 job waits for batch {inner.id} "
        "(parts), which is dead."
    )
    assert sentence.action is not None
    assert sentence.action.path == f"/v1/batches/{inner.id}/retry"
    limited = report(facts(storage, sql).limited_to(["mail"]))
    assert [each.text for each in limited.sentences] == [
        "bind in mail is on hold: 1 job waits for a job that is dead."
    ]
    assert inner.id not in str(limited)
    storage.batches.retry(inner.id)
    assert codes(storage, sql) == []


def test_a_batch_that_its_producer_has_left_open(storage: Storage, sql: Sql) -> None:
    batch_id = storage.batches.create(NewBatch("import"), is_sealed=False).id
    sql.age(attention.QUIET_S - 60)
    assert codes(storage, sql) == []
    sql.age(61)

    [sentence] = said(storage, sql).sentences

    assert sentence.code == "batch_open"
    assert sentence.text.startswith(
        f"Batch {batch_id} (import) is open and cannot end: its producer has added "
        "nothing for 15m"
    )
    assert report(facts(storage, sql).limited_to(["mail"])).sentences == []
    storage.batches.seal(batch_id)
    assert codes(storage, sql) == []


def test_a_schema_of_newer_code(storage: Storage, sql: Sql) -> None:
    with sql.newer_schema():
        sentences = said(storage, sql).sentences

    assert [sentence.code for sentence in sentences] == ["schema_misfit"]
