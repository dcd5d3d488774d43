"""Each sentence of an explanation, made true by real workers on both backends."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flask_forge_jobs.errors import JobNotFoundError, QueueNotFoundError
from flask_forge_jobs.handlers import explain_jobs, explain_queues, explain_ties
from flask_forge_jobs.handlers.explain import explain_job, explain_queue
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.limits import ConcurrencyLimit
from flask_forge_jobs.model.outcomes import Dead, Failed, Throttled
from flask_forge_jobs.model.queues import ChangeNote, QueueSettings
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.runtime.worker import RuntimeHandle
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.context import TaskContext
from tests.support.jobs import run
from tests.support.runtimes import (
    HeldTask,
    QuickTask,
    add,
    registry_of,
    running,
    wait_for_error,
    wait_for_status,
)
from tests.support.sql import Sql
from tests.support.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "explanations.rst"
ANN = ChangeNote("ann", "deploy")
HOUR = 3600


@contextmanager
def worker(
    storage: Storage, *tasks: HeldTask | QuickTask, name: str = "w1", **more: Any
) -> Iterator[RuntimeHandle]:
    """Run a worker of the queue mail; held tasks are let go at the end."""
    options: dict[str, Any] = {"queues": ["mail"], "threads": 1, "name": name}
    with running(storage, registry_of(*tasks), **options | more) as handle:
        try:
            yield handle
        finally:
            for task in tasks:
                if isinstance(task, HeldTask):
                    task.release.set()


def waits_with(
    storage: Storage, job_id: str, code: str, queues: list[str] | None = None
) -> Sentence:
    """Wait until the explanation of a job has a code; return it.

    A job that is snoozed is claimed now and then.
    """
    said: list[Sentence] = []

    def has_code() -> bool:
        said.append(explain_job(storage, job_id, queues))
        return said[-1].code == code

    wait_until(has_code, f"job {job_id} is {code}")
    return said[-1]


def pattern(text: str) -> str:
    """Return a pattern of a text in which ``…`` is any duration."""
    return re.escape(text).replace("…", r"(less than )?[0-9.]+(ms|s|m|h|d)[^,;.]*?")


def listed() -> dict[str, tuple[set[str], str]]:
    """Return the evidence and the action of each code that the page lists."""
    row = re.compile(r"   \* - ``(\w+)``\n     - .*\n     - (.*)\n     - (.*)\n")
    found = row.findall(PAGE.read_text("utf-8"))
    keys = {code: set(re.findall(r"``(\w+)``", text)) for code, text, _ in found}
    for code, text, _ in found:
        if text.startswith("as ``running``"):
            keys[code] |= keys["running"]
    return {code: (keys[code], action) for code, _, action in found}


def assert_says(sentence: Sentence, code: str, text: str) -> None:
    assert sentence.code == code, sentence
    keys, action = listed()[code]
    assert sentence.evidence.keys() <= keys, sentence
    assert sentence.action is None or sentence.action.label == action, sentence
    assert re.fullmatch(pattern(text), sentence.text), sentence.text


# -- the queue holds the job back ---------------------------------------------------


def test_a_paused_queue_says_by_whom_since_when_and_why(storage: Storage) -> None:
    with worker(storage, QuickTask("send")):
        storage.queues.change("mail", {"paused": True}, note=ANN)
        job_id = add(storage, "send", queue="mail")

        sentences = explain_job(storage, job_id), explain_queue(storage, "mail")

    for sentence in sentences:
        assert_says(sentence, "queue_paused", "mail is paused by ann, “deploy”, for ….")
        assert sentence.evidence["by"] == "ann"
        assert sentence.action is not None
        assert sentence.action.body == {"action": "resume", "queues": ["mail"]}


def test_a_queue_without_slots_says_so(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail", max_workers=0))
    with worker(storage, QuickTask("send")):
        job_id = add(storage, "send", queue="mail")

        sentences = explain_job(storage, job_id), explain_queue(storage, "mail")

    for sentence in sentences:
        text = "mail runs nothing: its max_workers is 0."
        assert_says(sentence, "queue_without_slots", text)


@pytest.mark.parametrize("queues", [None, ["mail"]])
def test_a_queue_without_a_worker_names_the_last(
    storage: Storage, queues: list[str] | None
) -> None:
    job_id = add(storage, "send", queue="mail")
    never = explain_job(storage, job_id, queues)
    storage.queues.change("mail", {"paused": True})
    with worker(storage, QuickTask("send"), name="worker-a"):
        pass
    storage.queues.change("mail", {"paused": False})

    sentences = (
        explain_job(storage, job_id, queues), explain_queue(storage, "mail", queues),
    )  # fmt: skip

    text = "No live worker serves mail. None ever has."
    assert_says(never, "queue_unserved", text)
    for sentence in sentences:
        text = "No live worker serves mail. The last one, worker-a, was seen … ago."
        assert_says(sentence, "queue_unserved", text)
        assert sentence.evidence["last_worker"] == "worker-a"
        assert (sentence.action is None) == (queues is not None)


def test_a_kind_that_no_worker_knows_has_a_nearest_one(storage: Storage) -> None:
    with worker(storage, QuickTask("send_mail"), QuickTask("fetch")):
        job_id = add(storage, "send_mial", queue="mail")
        sentence = waits_with(storage, job_id, "kind_unknown")
        limited = waits_with(storage, job_id, "kind_unknown", ["mail"])
        add(storage, "send_mail", queue="mail")
        aware = waits_with(storage, job_id, "kind_unknown", ["mail"])

    text = "No live worker of mail knows the kind send_mial"
    nearest = f"{text}; the nearest is send_mail."
    assert_says(sentence, "kind_unknown", nearest)
    assert sentence.evidence["workers"] == ["w1"]
    # Another queue may be the only one with jobs of that kind.
    assert_says(limited, "kind_unknown", f"{text}.")
    assert_says(aware, "kind_unknown", nearest)


def test_a_task_that_is_registered_later_is_known_soon(storage: Storage) -> None:
    registry = registry_of(QuickTask("fetch"))
    with running(storage, registry, queues=["mail"], lease_s=3.0) as handle:
        # Otherwise it would run the job before it says that it knows the kind.
        handle._parts.lease.is_claiming = False
        job_id = add(storage, "send", queue="mail")
        unknown = waits_with(storage, job_id, "kind_unknown")
        registry.add(QuickTask("send"))

        waits_with(storage, job_id, "starting")

    assert unknown.evidence["nearest"] == []


def test_a_cool_down_names_the_job_that_was_throttled(storage: Storage) -> None:
    def refuse(_: TaskContext) -> object:
        raise Throttled(600, reason="HTTP 429")

    with worker(storage, QuickTask("fetch", refuse)):
        first = add(storage, "fetch", queue="mail")
        wait_for_error(storage, first)
        second = add(storage, "fetch", queue="mail")

        sentences = explain_job(storage, second), explain_queue(storage, "mail")

    for sentence in sentences:
        text = f"mail cools down for … more: job {first} (fetch) was throttled, "
        text += "“HTTP 429”."
        assert_says(sentence, "queue_cools_down", text)
        assert sentence.evidence["job_id"] == first


def test_a_cool_down_of_an_operator_names_it(storage: Storage) -> None:
    with worker(storage, QuickTask("fetch")):
        storage.queues.cool_down(["mail"], 600, ANN)
        job_id = add(storage, "fetch", queue="mail")

        sentence = explain_job(storage, job_id)

    text = "mail cools down for … more, begun by ann: “deploy”."
    assert_says(sentence, "queue_cools_down", text)


# -- the job waits for its time ----------------------------------------------------


def test_a_concurrency_limit_names_its_holders(storage: Storage) -> None:
    task = HeldTask("sync", concurrency=ConcurrencyLimit(1))
    with worker(storage, task, threads=2, queues=["mail", "bank"]):
        holder = add(storage, "sync", queue="bank")
        task.wait_for_start()
        job_id = add(storage, "sync", queue="mail")
        sentence = waits_with(storage, job_id, "concurrency_limited")
        limited = waits_with(storage, job_id, "concurrency_limited", ["mail"])

    text = f"Job {job_id} waits for its concurrency limit; "
    own = f"{text}job {holder} (sync) for … holds it."
    assert_says(sentence, "concurrency_limited", own)
    assert sentence.action is not None
    assert sentence.action.path == f"/v1/jobs/{holder}"
    assert_says(limited, "concurrency_limited", f"{text}another job holds it.")
    assert limited.evidence["holders"] == []
    assert limited.action is None
    assert holder not in repr(limited)


def test_holders_elsewhere_are_not_counted_either(storage: Storage) -> None:
    task = HeldTask("sync", concurrency=ConcurrencyLimit(2))
    with worker(storage, task, threads=3, queues=["mail", "bank"]):
        for _ in range(2):
            add(storage, "sync", queue="bank")
        task.wait_for_start(2)
        job_id = add(storage, "sync", queue="mail")
        limited = waits_with(storage, job_id, "concurrency_limited", ["mail"])

    text = f"Job {job_id} waits for its concurrency limit; another job holds it."
    assert_says(limited, "concurrency_limited", text)


def test_a_rate_limit_without_tokens_is_named(storage: Storage) -> None:
    storage.rate_limits.put("api", 1, 0.01)
    task = QuickTask("call", lambda context: context.rate_limit("api"))
    with worker(storage, task):
        for _ in range(2):
            job_id = add(storage, "call", queue="mail")
            wait_until(lambda: len(task.job_ids) > 0, "one has run")
        sentence = waits_with(storage, job_id, "rate_limited")
        limited = waits_with(storage, job_id, "rate_limited", ["mail"])

    text = f"Job {job_id} waits … more for tokens of the rate limit api"
    assert_says(sentence, "rate_limited", f"{text}, which gains 0.01 a second.")
    assert sentence.evidence["capacity"] == 1
    # The bucket is of all queues.
    assert_says(limited, "rate_limited", f"{text}.")
    assert limited.evidence.keys() == {"scope", "until"}


def test_a_failed_job_backs_off_after_its_error(storage: Storage) -> None:
    task = QuickTask("send", lambda _: Failed("smtp: no route", 600))
    with worker(storage, task):
        job_id = add(storage, "send", queue="mail")
        wait_for_status(storage, job_id, JobStatus.FAILED)

        sentence = explain_job(storage, job_id)

    text = f"Job {job_id} backs off for … more after attempt 1 of 5: smtp: no route."
    assert_says(sentence, "backs_off", text)
    assert sentence.action is not None
    assert sentence.action.body == {"action": "run_now", "ids": [job_id]}


def test_a_job_whose_task_asked_for_a_pause_says_so(storage: Storage) -> None:
    def refuse(_: TaskContext) -> object:
        raise Throttled(600, scope="job", reason="HTTP 429")

    with worker(storage, QuickTask("fetch", refuse)):
        job_id = add(storage, "fetch", queue="mail")
        wait_for_error(storage, job_id)

        sentence = explain_job(storage, job_id)

    text = f"Job {job_id} waits … more, because its task asked for a pause: “HTTP 429”."
    assert_says(sentence, "job_throttled", text)


def test_a_scheduled_job_says_for_when(storage: Storage) -> None:
    with worker(storage, QuickTask("send")):
        job_id = add(storage, "send", queue="mail", delay=2 * HOUR)

        sentence = explain_job(storage, job_id)

    assert sentence.code == "scheduled"
    assert re.search(r" is scheduled for 2.*Z, in (2h|1h 5.m)\.$", sentence.text)


# -- the job waits for a slot ------------------------------------------------------


def test_a_job_waits_for_its_turn_behind_others(storage: Storage, sql: Sql) -> None:
    task = HeldTask("send")
    with worker(storage, task):
        ids = [add(storage, "send", queue="mail") for _ in range(4)]
        task.wait_for_start()
        first = explain_job(storage, ids[3])
        _count_started(sql, 240)
        usual = explain_job(storage, ids[3])

    text = f"Job {ids[3]} waits for its turn behind 2 jobs of mail"
    busy = "; all its slots are busy."
    assert_says(first, "waits_for_turn", text + busy)
    assert (first.evidence["ahead"], first.evidence["ahead_is_exact"]) == (2, True)
    # 240 within ten minutes: two take five seconds.
    assert_says(usual, "waits_for_turn", f"{text}, usually …{busy}")
    assert usual.evidence["usual_wait_seconds"] == pytest.approx(5, rel=0.2)


def test_jobs_ahead_are_counted_up_to_a_bound(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("mail")
    with worker(storage, HeldTask("send")) as handle:
        handle._parts.lease.is_claiming = False
        sql.seed(10_002, queue_name="mail", kind="send")
        job_id = add(storage, "send", queue="mail")

        sentence = explain_job(storage, job_id)

    text = f"Job {job_id} waits for its turn behind more than 10,000 jobs of mail."
    assert_says(sentence, "waits_for_turn", text)
    assert sentence.evidence["ahead"] == 10_000
    assert sentence.evidence["ahead_is_exact"] is False


def test_busy_slots_name_their_jobs(storage: Storage) -> None:
    task = HeldTask("send")
    with worker(storage, task, queues=["mail", "bank"]):
        holder = add(storage, "send", queue="bank")
        task.wait_for_start()
        job_id = add(storage, "send", queue="mail")
        sentence = waits_with(storage, job_id, "slots_busy")
        limited = explain_job(storage, job_id, ["mail"])

    text = f"Job {job_id} is next, but all slots of its workers are busy: "
    assert_says(sentence, "slots_busy", f"{text}job {holder} (send) for ….")
    assert_says(limited, "slots_busy", f"{text}another job.")
    assert limited.evidence["running"] == []
    assert holder not in repr(limited)


def test_a_job_that_nothing_holds_back_is_about_to_start(storage: Storage) -> None:
    with worker(storage, QuickTask("send")) as handle:
        handle._parts.lease.is_claiming = False
        job_id = add(storage, "send", queue="mail")

        sentence = waits_with(storage, job_id, "starting")

    text = f"Job {job_id} is next: a worker with a free slot is about to claim it."
    assert_says(sentence, "starting", text)
    assert sentence.evidence["workers"] == ["w1"]


# -- the job runs ------------------------------------------------------------------


def test_a_running_job_says_since_when_and_where(storage: Storage, sql: Sql) -> None:
    task = HeldTask("send")
    with worker(storage, task):
        job_id = add(storage, "send", queue="mail")
        task.wait_for_start()
        wait_until(
            lambda: explain_job(storage, job_id).evidence["slot"] == 0, "a slot shows"
        )
        sentence = explain_job(storage, job_id)
        _count_started(sql, 1, "send", run_us=2_000_000)
        usual = explain_job(storage, job_id)

    host = sentence.evidence["host"]
    text = (
        f"Job {job_id} has run for … on worker w1 at {host} in slot 0, attempt 1 of 5"
    )
    assert_says(sentence, "running", f"{text}.")
    assert usual.text.endswith("; it usually takes 2s.")


def test_a_job_that_was_asked_to_stop_says_by_which_words(storage: Storage) -> None:
    task = HeldTask("send", obeys=False)
    with worker(storage, task):
        job_id = add(storage, "send", queue="mail")
        task.wait_for_start()
        storage.job_admin.cancel(job_id, "wrong address")

        sentence = explain_job(storage, job_id)

    assert sentence.code == "stop_asked"
    assert "“wrong address”, and still runs on worker w1" in sentence.text


def test_a_job_of_a_silent_worker_is_taken_over(storage: Storage, sql: Sql) -> None:
    task = HeldTask("send")
    with worker(storage, task):
        job_id = add(storage, "send", queue="mail")
        task.wait_for_start()
        worker_id = storage.job_reader.get(job_id).slot_id or ""
        # What is left of a worker that was killed.
        sql.run(
            "INSERT INTO forge_worker "
            "(worker_id, worker_name, heartbeat_at, started_at) "
            f"VALUES ('dead', 'w0', {sql.now_us() - 120_000_000}, 1)"
        )
        sql.run("UPDATE forge_job SET worker_id = 'dead' WHERE id = ?", job_id)

        sentence = explain_job(storage, job_id)
        sql.run("DELETE FROM forge_worker WHERE worker_id = 'dead'")
        gone = explain_job(storage, job_id)
        sql.run("UPDATE forge_job SET worker_id = ? WHERE id = ?", worker_id, job_id)

    rest = "another worker takes it over when the lease is over."
    text = f"Job {job_id} runs on w0, which was last seen … ago; {rest}"
    assert_says(sentence, "worker_silent", text)
    assert gone.text == f"Job {job_id} runs on dead, which is gone; {rest}"


# -- the job has ended -------------------------------------------------------------


def test_a_job_that_has_ended_says_when_and_why(storage: Storage) -> None:
    tasks = (
        QuickTask("good"), QuickTask("bad", lambda _: Dead("no such user")),
    )  # fmt: skip
    with worker(storage, *tasks):
        good = add(storage, "good", queue="mail")
        bad = add(storage, "bad", queue="mail")
        wait_for_status(storage, good, JobStatus.DONE)
        wait_for_status(storage, bad, JobStatus.DEAD)
        late = add(storage, "good", queue="mail", delay=HOUR)
        storage.job_admin.cancel(late, "not needed")

        done, dead, cancelled = (
            explain_job(storage, each) for each in (good, bad, late)
        )

    text = f"Job {good} was done … ago: attempt 1 of 5 ran …."
    assert_says(done, "done", text)
    text = f"Job {bad} has been dead for …, after attempt 1 of 5: no such user."
    assert_says(dead, "dead", text)
    assert dead.action is not None
    assert dead.action.path == f"/v1/jobs/{bad}/retry"
    assert cancelled.code == "cancelled"
    assert "not needed" in cancelled.text


def test_a_dead_job_names_who_holds_its_key(storage: Storage) -> None:
    with worker(storage, QuickTask("bad", lambda _: Dead("gone"))):
        dead = add(storage, "bad", queue="mail", dedupe_key="k")
        wait_for_status(storage, dead, JobStatus.DEAD)
        holder = add(storage, "bad", queue="bank", dedupe_key="k")

        sentence = explain_job(storage, dead)
        limited = explain_job(storage, dead, ["mail"])

    text = f"Job {dead} is dead and cannot be retried: "
    assert_says(sentence, "key_held", f"{text}job {holder} holds its dedupe key.")
    assert_says(limited, "key_held", f"{text}another job holds its dedupe key.")
    assert holder not in repr(limited)


# -- queues ------------------------------------------------------------------------


def test_a_queue_runs_fine_is_idle_or_empty(storage: Storage) -> None:
    task = HeldTask("send")
    with worker(storage, task):
        empty = explain_queue(storage, "mail")
        job_id = add(storage, "send", queue="mail", delay=HOUR)
        idle = explain_queue(storage, "mail")
        storage.job_admin.delete(job_id)
        add(storage, "send", queue="mail")
        task.wait_for_start()
        runs = explain_queue(storage, "mail")

    assert_says(empty, "queue_empty", "mail is empty.")
    text = "mail has nothing to run: 1 job waits for its time."
    assert_says(idle, "queue_idle", text)
    text = "mail runs fine: 1 job in progress, 0 due, 0 started in the last hour."
    assert_says(runs, "queue_runs", text)


def test_a_queue_that_has_started_nothing_does_not_run_fine(
    storage: Storage, sql: Sql
) -> None:
    add(storage, "send", queue="mail")
    storage.workers.beat("W", None, ["mail"], [])

    said = explain_queue(storage, "mail")
    for _ in range(2):
        add(storage, "send", queue="mail")
    sql.age(70)
    storage.workers.beat("W", None, ["mail"], [])
    late = explain_queue(storage, "mail")

    text = "mail has started no job of late; 1 job is due."
    assert_says(said, "queue_runs", text)
    text = "mail has started no job of late; 3 jobs are due, the oldest for …."
    assert_says(late, "queue_runs", text)


def test_a_queue_that_is_slow_and_has_no_job_in_progress_runs_none(
    storage: Storage, sql: Sql
) -> None:
    """Lists say that it completes none; that it runs was said beside it."""
    add(storage, "send", queue="mail")
    sql.age(70)
    storage.workers.beat("W", None, ["mail"], [])
    _count_started(sql, 5)

    said = explain_queue(storage, "mail")

    text = "mail runs no job now: 1 due, the oldest for …, 5 started in the last hour."
    assert_says(said, "queue_runs", text)


def test_a_retry_that_is_due_does_not_wait_for_its_time(
    storage: Storage, sql: Sql
) -> None:
    add(storage, "send", queue="mail")
    run(storage, Failed("E"), queue_name="mail")
    sql.age(7200)
    # As a worker does that looks for jobs whose time has come.
    sql.run("UPDATE forge_job SET deferred = FALSE")
    storage.workers.beat("W", None, ["mail"], [])

    said = explain_queue(storage, "mail", behind_s=9000)

    text = "mail has started no job of late; a retry is due, for …."
    assert_says(said, "queue_runs", text)


def test_a_queue_that_is_behind_or_full_says_so(storage: Storage, sql: Sql) -> None:
    task = HeldTask("send")
    with worker(storage, task):
        add(storage, "send", queue="mail")
        task.wait_for_start()
        add(storage, "send", queue="mail")
        sql.run(
            "UPDATE forge_job SET scheduled_at = scheduled_at - 301000000 "
            "WHERE status = 'pending'"
        )
        behind = explain_queue(storage, "mail")
        later = explain_queue(storage, "mail", behind_s=400)
        storage.queues.change("mail", {"max_pending": 1})
        full = explain_queue(storage, "mail")

    text = "mail is behind: its oldest due job waits for …; all its slots are busy."
    assert_says(behind, "queue_behind", text)
    text = (
        "mail runs: 1 job in progress, 1 due, the oldest for …, 0 started in the last "
        "hour."
    )
    assert_says(later, "queue_runs", text)
    assert len(list(behind.evidence["running"])) == 1  # type: ignore[call-overload]
    text = "mail refuses new jobs: 1 job is still to run, and its max_pending is 1."
    assert_says(full, "queue_full", text)


# -- any ---------------------------------------------------------------------------


def test_a_schema_of_another_version_comes_first(storage: Storage, sql: Sql) -> None:
    job_id = add(storage, "send", queue="mail")
    with sql.newer_schema():
        new = explain_job(storage, job_id), explain_queue(storage, "mail")
    storage.database.known_version += 1
    try:
        old = explain_job(storage, job_id), explain_queue(storage, "mail")
    finally:
        storage.database.known_version -= 1

    assert {each.code for each in new} == {"schema_misfit"}
    assert {each.code for each in old} == {"schema_misfit"}
    assert "upgrade it" in new[0].text
    assert "flask forge-jobs db migrate" in old[0].text


def test_an_unknown_name_is_not_found(storage: Storage) -> None:
    with pytest.raises(JobNotFoundError):
        explain_job(storage, "none")
    with pytest.raises(JobNotFoundError):
        explain_job(storage, "\x00")
    with pytest.raises(QueueNotFoundError):
        explain_queue(storage, "none")


def test_a_job_of_a_queue_without_settings_is_explained(
    storage: Storage, sql: Sql
) -> None:
    job_id = add(storage, "send", queue="mail")
    sql.run("DELETE FROM forge_queue")

    assert explain_job(storage, job_id).code == "queue_unserved"


def test_an_explanation_reads_twice(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = add(storage, "send", queue="mail")
    caller = threading.get_ident()
    asked: list[str] = []
    for way in ("read", "read_one"):
        real = getattr(type(storage.database), way)

        def ask(*args: Any, real: Any = real, way: str = way, **others: Any) -> Any:
            if threading.get_ident() == caller:
                asked.append(way)
            return real(*args, **others)

        monkeypatch.setattr(type(storage.database), way, ask)

    explain_job(storage, job_id)
    explain_queue(storage, "mail")

    assert asked == ["read_one"] * 4


def test_the_page_lists_every_sentence_and_no_other() -> None:
    rules = {*explain_queues.RULES, *explain_jobs.RULES[JobStatus.PENDING]}
    for more in explain_jobs.RULES.values():
        rules |= set(more)
    source = "".join(
        inspect.getsource(module)
        for module in (explain_jobs, explain_queues, explain_ties)
    )
    codes = set(re.findall(r'Sentence\("(\w+)"', source))

    assert len(codes) == len(rules)
    assert listed().keys() == codes


def _count_started(
    sql: Sql, started: int, kind: str = "", run_us: int | None = None
) -> None:
    """Store figures of the queue as of ten minutes ago, by default without a kind."""
    from flask_forge_jobs.model.histograms import Histogram

    times = Histogram()
    if run_us is not None:
        times.record_many([run_us])
    bucket = sql.now_us() // 10_000_000 * 10_000_000 - 600_000_000
    sql.run(
        "INSERT INTO forge_metric "
        "VALUES (10, 'mail', ?, ?, 'test', 0, ?, 0, 0, 0, 0, 0, '', ?, '')",
        kind, bucket, started, times.encode(),
    )  # fmt: skip
