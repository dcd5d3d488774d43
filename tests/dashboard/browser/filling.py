"""Jobs, queues, workers and schedules in every state, some of a stranger's naming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.batches import BatchEvent, NewBatch
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.bulk_runs import NewBulkRun, RunAuthor
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.metrics import (
    SAMPLE_LEVELS,
    DatabaseHealth,
    ResourceUse,
    SampleSums,
)
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, FollowUp, Outcome
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.queues import ChangeNote
from flask_forge_jobs.model.run_logs import LogChunk, LogLine
from flask_forge_jobs.model.workers import SlotReport, WorkerProcess
from flask_forge_jobs.storage.base import Storage
from tests.support.figures import PastProcess
from tests.support.jobs import claim_one, run

FAR_OFF = datetime(2999, 1, 1, tzinfo=UTC)
TRACEBACK = (
    'Traceback (most recent call last):\n  File "shop/billing.py", line 12, in charge\n'
    "    gateway.post(card)\nConnectionError: the gateway is away\n"
)
CORPUS = Path(__file__).parents[2] / "api" / "hazards" / "corpora" / "xss.txt"
# Where a string of the corpus runs, it asks for this.
HIT = "/hit"
SECRET = "s3cr3t-of-the-tests"
_UNFIT_FOR_A_QUEUE = str.maketrans("", "", ",/?#%")
# Names with invisible characters are refused; texts are not.
_UNFIT_FOR_A_NAME = str.maketrans("", "", "\u202e\u202c\u2066")
_LONGEST_NAME = 120
_RUN_MS = 40
_MINUTE_US = 60 * SECOND_US
# The process of a bulk run; nobody has this name, so it is one that has died.
_HOLDER = "a process that has died"
# What the application names itself is not ours either.
OPTIONS = {
    "dashboard_title": "<script>fetch('/hit')</script>",
    "dashboard_badge": "\"><img src=/hit onerror=fetch('/hit')>",
    "dashboard_links": {"' onmouseover='fetch(`/hit`)": "/x?a=1&lt;b"},
    "dashboard_home": "/x?'onclick='fetch(`/hit`)",
}
# One of each way out of a text: element, attribute, link, directions, length.
WAYS = (
    "<script>fetch('/hit')</script>",
    "\"><img src=/hit onerror=fetch('/hit')>",
    "' onmouseover='fetch(`/hit`)' autofocus onfocus='fetch(`/hit`)",
    "javascript:fetch('/hit')",
    "\u202eevil\u202c\u2066{{7*7}}\\u0000%00&lt;b&gt;",
    "x" * 10_240,
)


def hostile() -> list[str]:
    """Return the corpus; each string asks for :data:`HIT` where it runs."""
    lines = CORPUS.read_text("utf-8").splitlines()
    return [
        line.replace("alert(1)", f"fetch('{HIT}')").replace("src=x", f"src={HIT}")
        for line in lines
    ]


def fill(
    storage: Storage, strings: Sequence[str], *, shows_strings: bool = False
) -> Mapping[str, str]:
    """Fill an empty database.

    Args:
        storage: Its stores.
        strings: Stand wherever the text of a stranger may.
        shows_strings: Whether the values are those of the last string.

    Returns:
        A value for each placeholder of a page's path.
    """
    _enqueue(storage)
    job_id, running_id = _run(storage)
    _configure(storage)
    strange: Mapping[str, str] = {}
    for number, text in enumerate(strings):
        strange = _store(storage, text, number)
    sample(storage, "worker-1", has_database=True)
    return {
        "job_id": job_id, "running_id": running_id, "name": "mail",
        "worker_id": "worker-1", "run_id": begin_bulk(storage, strings),
        "batch_id": begin_batch(storage, strings),
        **(strange if shows_strings else {}),
    }  # fmt: skip


def keep(storage: Storage, examples: Mapping[str, str]) -> None:
    """Renew what a filled database has of processes: its worker and its bulk run.

    Args:
        storage: Its stores.
        examples: What :func:`fill` returned.
    """
    _beat(storage, examples["running_id"])
    storage.bulk_runs.take(examples["run_id"], _HOLDER)


def sample(
    storage: Storage,
    worker_id: str,
    *,
    minutes_ago: int = 0,
    has_database: bool = False,
) -> None:
    """Store what a worker used of its machine, and of the database, in a minute."""
    sums, health = SampleSums(), DatabaseHealth()
    if has_database:
        health = DatabaseHealth(db_size_bytes=500_000_000, wal_bytes=4_000_000)
        sums.reads.record_many([2000])
        sums.writes.record_many([5000])
    sums.add(ResourceUse(40.0, 100_000_000), health)
    now_us = SystemClock().now_us() - minutes_ago * 60 * SECOND_US
    levels = {
        (level, now_us - now_us % (level * SECOND_US)): sums for level in SAMPLE_LEVELS
    }
    storage.samples.put(worker_id, levels)


def begin_batch(storage: Storage, strings: Sequence[str] = ()) -> str:
    """Make a batch with a dead job and a batch within, and return its id."""
    name, *_, error = strings or ("report 7", "no card")
    told = FollowUp("send_report", "ended", "batches", 0, 5)
    data = {"report": 7, "password": SECRET, "strings": list(strings)}
    new = NewBatch(name[:255], data, {BatchEvent.SUCCESS: told, BatchEvent.DEAD: told})
    jobs = [NewJob("part", queue_name="batches")] * 3
    batch_id = storage.batches.create(new, jobs).id
    _end_one(storage, Dead(f"{error}: {error}"), "batches", minutes_ago=2)
    _end_one(storage, Done(), "batches", minutes_ago=9)
    storage.batches.create(NewBatch(name[:255], within=batch_id))
    return batch_id


def begin_bulk(storage: Storage, strings: Sequence[str] = ()) -> str:
    """Begin a bulk run that nobody works on, and return its id."""
    actor, *_, text = strings or ("ops", "no card")
    author = RunAuthor(actor, "127.0.0.1", "request-1", "{}")
    conditions: dict[str, object] = {
        "statuses": ["dead"], "kinds": list(strings), "error": text[:200],
    }  # fmt: skip
    bulk_run = NewBulkRun(
        action=JobAction.RETRY, jobs=conditions, matched=5000, author=author
    )
    return storage.bulk_runs.add(bulk_run, _HOLDER)


def _enqueue(storage: Storage) -> None:
    payload = dump({"to": "a@example.com", "password": SECRET, "rows": [1, 2.5, None]})
    mail = [NewJob("send_mail", payload, queue_name="mail")] * 60
    rest = [
        NewJob("nightly_report", queue_name="reports", run_at=FAR_OFF),
        NewJob("make_report", queue_name="reports", priority=5),
        NewJob("charge_card", queue_name="billing"),
        NewJob("export", queue_name="exports"),
    ]
    storage.jobs.enqueue_many([*mail, *rest])


def _run(storage: Storage) -> tuple[str, str]:
    """Run some jobs; return one that failed with a traceback, and one that runs."""
    away = "ConnectionError: the gateway is away"
    outcomes: list[Outcome] = [
        Done(dump({"sent": 1})), Failed(away, traceback=TRACEBACK), Dead("no card"),
    ]  # fmt: skip
    job_ids = []
    for number, outcome in enumerate(outcomes):
        storage.jobs.enqueue(NewJob("charge_card", queue_name="work"))
        job_ids.append(_end_one(storage, outcome, "work", 5 + 20 * number).id)
    storage.jobs.enqueue(NewJob("transcode", queue_name="work"))
    # The worker that shows it in its slot.
    running = claim_one(storage, owner="worker-1", queue_name="work")
    _beat(storage, running.id)
    return job_ids[1], running.id


def _end_one(
    storage: Storage, outcome: Outcome, queue_name: str, minutes_ago: int
) -> ClaimedJob:
    """Claim one job, end it, and count it some minutes ago, as charts show few now."""
    job = run(storage, outcome, queue_name=queue_name)
    past = PastProcess(storage, SystemClock().now_us() - minutes_ago * _MINUTE_US)
    is_last = job.attempts >= job.max_attempts
    is_failed = isinstance(outcome, Failed)
    past.runs(
        queue_name,
        job.kind,
        [_RUN_MS] if isinstance(outcome, Done) else (),
        dead=isinstance(outcome, Dead) or (is_failed and is_last),
        retried=is_failed and not is_last,
    )
    return job


def _beat(storage: Storage, running_id: str) -> None:
    report = dump({"done": 3, "total": 12, "message": "page 3"})
    storage.jobs.heartbeat("worker-1", {running_id: report})
    slots = [
        SlotReport("slot-1", "work", current_job_id=running_id),
        SlotReport("slot-2", "mail"), SlotReport("slot-3", "cool"),
    ]  # fmt: skip
    process = WorkerProcess(version="0.1.0", host="host-1", pid=77)
    names = ["work", "mail", "cool"]
    storage.workers.beat("worker-1", "first", names, slots, process=process)


def _configure(storage: Storage) -> None:
    why = ChangeNote("ops", "the printer is full")
    storage.queues.change("reports", {"paused": True}, note=why)
    arguments = dump({"action": "pause", "queues": ["reports"], "reason": why.reason})
    storage.audit.append(
        AuditRecord(
            "ops", "queue_actions", "reports", "127.0.0.1", "request-1", 200, 1,
            arguments,
        )
    )  # fmt: skip
    storage.queues.ensure("cool", 4)
    storage.queues.cool_down(
        ["billing", "cool"], 600, ChangeNote("ops", "too many requests")
    )
    storage.rate_limits.put("gateway", capacity=10, refill_per_sec=0.5)
    for number in range(3):
        expression = f"{number} 3 * * *"
        definition = ScheduleDefinition(f"nightly-{number}", "nightly", expression)
        storage.cron.create(definition)
    storage.cron.create(ScheduleDefinition("mail", "digest", "0 * * * *"))


def _store(storage: Storage, text: str, number: int) -> Mapping[str, str]:
    """Put a string wherever one of a stranger may go; return what shows it."""
    name = text.translate(_UNFIT_FOR_A_NAME)[:_LONGEST_NAME]
    queue_name = name.translate(_UNFIT_FOR_A_QUEUE).strip() or "x"
    job = NewJob(
        name, dump({text: text, "password": SECRET}), queue_name=queue_name,
        dedupe_key=name, max_attempts=1 + number % 2,
    )  # fmt: skip
    failure = Failed(f"{text}: {text}", traceback=f"{TRACEBACK}{text}")
    storage.jobs.enqueue(job)
    failed = _end_one(storage, failure, queue_name, number % 50 + 2)
    storage.jobs.enqueue(NewJob(name, dump(text), queue_name=queue_name))
    running = claim_one(storage, owner=name, queue_name=queue_name)
    assert storage.concurrency.acquire(running, name, f"{number} {text}"[:200], 1)
    storage.rate_limits.put(queue_name, capacity=number + 1, refill_per_sec=0.5)
    progress = dump({"done": 1, "total": 2, "message": text[:200]})
    lines = [LogLine(running.claimed_at_us, "ERROR", name, text)]
    chunk = LogChunk(running.run_id, running.attempts, 0, lines)
    storage.jobs.heartbeat(name, {running.id: progress}, [chunk])
    slot = SlotReport(f"{number}-{name}"[:100], queue_name, current_job_id=running.id)
    storage.workers.beat(name, name, [queue_name], [slot])
    storage.queues.change(
        queue_name, {"paused": True}, note=ChangeNote(name, text[:1000])
    )
    storage.batches.create(NewBatch(text[:255], {text: text}))
    definition = ScheduleDefinition(
        name.translate(_UNFIT_FOR_A_QUEUE), name, "0 * * * *", queue_name=queue_name
    )
    storage.cron.create(definition)
    arguments = dump({"reason": text})
    record = AuditRecord(name, "pause_queue", name, "127.0.0.1", "r", 200, 1, arguments)
    storage.audit.append(record)
    return {
        "job_id": failed.id, "running_id": running.id, "name": queue_name,
        "worker_id": name,
    }  # fmt: skip
