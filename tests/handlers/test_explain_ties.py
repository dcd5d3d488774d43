"""What an explanation says of the jobs and the batches that concern a job."""

from __future__ import annotations

import re

import pytest

from flask_forge_jobs.handlers.explain import explain_job
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import claim_one, run


def store(storage: Storage, kind: str, queue_name: str = "mail", *after: str) -> str:
    job = NewJob(kind, queue_name=queue_name, after=after)
    return storage.jobs.enqueue(job).id


def wait_for(storage: Storage, *parents: str, policy: str = "cancel") -> str:
    job = NewJob("bind", queue_name="mail", after=parents, on_parent_dead=policy)
    return storage.jobs.enqueue(job).id


def says(sentence: Sentence, code: str, text: str) -> None:
    """Check a sentence; ``…`` is any duration."""
    pattern = re.escape(text).replace("…", r"(less than )?[0-9.]+(ms|s|m|h|d)")
    assert sentence.code == code, sentence
    assert re.fullmatch(pattern, sentence.text), sentence.text


def request_of(sentence: Sentence) -> str | None:
    action = sentence.action
    return None if action is None else f"{action.method} {action.path}"


def parents_of(sentence: Sentence) -> list[dict[str, object]]:
    found = sentence.evidence["parents"]
    assert isinstance(found, list)
    return found


# -- waiting -----------------------------------------------------------------------


def test_a_job_that_waits_names_the_others_and_their_states(storage: Storage) -> None:
    first = store(storage, "fetch")
    job = wait_for(storage, first)
    says(
        explain_job(storage, job),
        "waits_for_jobs",
        f"Job {job} waits for job {first} (fetch), which has not started.",
    )
    second = store(storage, "parse", "bank")
    claim_one(storage, queue_name="mail")
    run(storage, Failed("busy"), queue_name="bank")
    job = wait_for(storage, first, second)

    sentence = explain_job(storage, job)

    says(
        sentence,
        "waits_for_jobs",
        f"Job {job} waits for 2 other jobs: job {first} (fetch), which runs and "
        f"job {second} (parse), which will be tried again.",
    )
    assert request_of(sentence) == f"POST /v1/jobs/{job}/release"
    assert [(each["id"], each["status"]) for each in parents_of(sentence)] == [
        (first, "in_progress"),
        (second, "failed"),
    ]


def test_three_of_many_are_named(storage: Storage) -> None:
    parents = [store(storage, f"k{n}") for n in range(30)]
    job = wait_for(storage, *parents)

    sentence = explain_job(storage, job)

    assert sentence.text.startswith(f"Job {job} waits for 30 other jobs: job ")
    assert sentence.text.endswith("(k2), which has not started and more.")
    assert len(parents_of(sentence)) == 20


def test_a_job_that_waits_for_a_batch_names_it(storage: Storage) -> None:
    batch = storage.batches.create(NewBatch("report\x1b[2J\u202e"), [NewJob("k")]).id
    job = wait_for(storage, batch)

    sentence = explain_job(storage, job)

    says(
        sentence,
        "waits_for_jobs",
        f"Job {job} waits for batch {batch} (report\\x1b[2J\\u202e), which has not "
        "ended.",
    )
    assert parents_of(sentence)[0]["kind"] is None


def test_a_caller_of_one_queue_learns_nothing_of_others(storage: Storage) -> None:
    other = store(storage, "secret", "bank")
    batch = storage.batches.create(NewBatch("secret"), [NewJob("k")]).id
    own = store(storage, "fetch")
    job = wait_for(storage, other, batch, own)

    sentence = explain_job(storage, job, ["mail"])

    says(
        sentence,
        "waits_for_jobs",
        f"Job {job} waits for 3 other jobs: job {own} (fetch), which has not started "
        "and another job.",
    )
    assert [each["id"] for each in parents_of(sentence)] == [own]
    assert "secret" not in str(sentence)


def test_a_job_that_is_released_waits_for_others_no_more(storage: Storage) -> None:
    job = wait_for(storage, store(storage, "fetch"))
    storage.links.release(job)

    assert explain_job(storage, job).code == "queue_unserved"


# -- on hold -----------------------------------------------------------------------


def test_a_job_on_hold_names_the_dead_one_first(storage: Storage) -> None:
    waits = store(storage, "slow", "bank")
    parent = store(storage, "check")
    job = wait_for(storage, waits, parent, policy="hold")
    run(storage, Dead("ValueError: who is that?"), queue_name="mail")

    sentence = explain_job(storage, job)

    says(
        sentence,
        "held",
        f"Job {job} is on hold: it waits for job {parent} (check), which is dead, "
        "“ValueError: who is that?”.",
    )
    assert request_of(sentence) == f"POST /v1/jobs/{parent}/retry"
    storage.job_admin.requeue(parent)
    assert explain_job(storage, job).code == "waits_for_jobs"


def test_a_job_on_hold_for_a_deleted_one_is_to_be_released(storage: Storage) -> None:
    parent = store(storage, "check")
    job = wait_for(storage, parent, policy="hold")
    storage.job_admin.change(JobAction.DELETE, [parent])

    sentence = explain_job(storage, job)

    says(
        sentence,
        "held",
        f"Job {job} is on hold: it waits for job {parent} (check), which was deleted.",
    )
    assert request_of(sentence) == f"POST /v1/jobs/{job}/release"


def test_a_job_on_hold_for_a_dead_batch_is_to_retry_it(storage: Storage) -> None:
    parts = [NewJob("part", queue_name="bank")]
    batch = storage.batches.create(NewBatch("report"), parts).id
    job = wait_for(storage, batch, policy="hold")
    run(storage, Dead("no"), queue_name="bank")
    storage.batches.tend()

    sentence = explain_job(storage, job)

    says(
        sentence,
        "held",
        f"Job {job} is on hold: it waits for batch {batch} (report), which is dead.",
    )
    assert request_of(sentence) == f"POST /v1/batches/{batch}/retry"
    limited = explain_job(storage, job, ["mail"])
    says(limited, "held", f"Job {job} is on hold: it waits for another job.")
    assert request_of(limited) == f"POST /v1/jobs/{job}/release"


# -- ended -------------------------------------------------------------------------


def test_a_job_that_died_with_another_one_says_so(storage: Storage) -> None:
    parent = store(storage, "fetch")
    job = wait_for(storage, parent)
    run(storage, Dead("HTTP 404"), queue_name="mail")

    sentence = explain_job(storage, job)

    says(
        sentence,
        "died_with_parent",
        f"Job {job} never ran: it has been dead for …, as it waited for job {parent} "
        "(fetch), which is dead, “HTTP 404”.",
    )
    assert request_of(sentence) == f"POST /v1/jobs/{parent}/retry?dependents=1"
    limited = explain_job(storage, job, ["other"])
    assert request_of(limited) == f"POST /v1/jobs/{job}/retry"
    assert "fetch" not in limited.text
    storage.job_admin.requeue(parent)
    run(storage, Done(), queue_name="mail")
    says(
        explain_job(storage, job),
        "died_with_parent",
        f"Job {job} never ran: it has been dead for …, as it waited for job {parent} "
        "(fetch), which is done by now.",
    )


def test_a_job_that_ran_and_died_is_simply_dead(storage: Storage) -> None:
    parent = store(storage, "fetch")
    job = wait_for(storage, parent)
    run(storage, Done(), queue_name="mail")
    run(storage, Dead("no"), queue_name="mail")

    assert explain_job(storage, job).code == "dead"


@pytest.mark.parametrize("queues", [None, ["mail"]])
def test_a_job_that_was_cancelled_with_its_batch_says_so(
    storage: Storage, queues: list[str] | None
) -> None:
    jobs = [NewJob("part", queue_name="mail") for _ in range(2)]
    made = storage.batches.create(NewBatch("report"), jobs)
    running = claim_one(storage, queue_name="mail").id
    [waiting] = {each.id for each in made.results} - {running}
    storage.batches.cancel(made.id)
    batch = "" if queues else f" with its batch {made.id} (report)"

    says(
        explain_job(storage, waiting, queues),
        "cancelled",
        f"Job {waiting} was cancelled … ago{batch}, “cancelled by user”.",
    )
    sentence = explain_job(storage, running, queues)
    assert sentence.code == "stop_asked"
    assert f" ago{batch} and still runs on " in sentence.text
    assert ("batch" in sentence.evidence) is (queues is None)
