"""``flask forge-jobs jobs list`` and ``show``."""

from __future__ import annotations

from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Failed
from tests.cli.console import Console
from tests.support.jobs import enqueue, job_with, run


def test_a_list_has_a_line_a_job_the_newest_first(console: Console) -> None:
    waiting = enqueue(console.storage, "send_mail", queue_name="mail")
    dead = job_with(console.storage, JobStatus.DEAD)

    head, first, second = console.text("jobs", "list").splitlines()

    assert head.split() == [
        "ID",
        "STATUS",
        "QUEUE",
        "KIND",
        "TRIES",
        "WHEN",
        "LAST",
        "ERROR",
    ]
    assert first.split()[:5] == [dead, "dead", "default", "noop", "1/5"]
    assert first.endswith(" no")
    assert second.split()[:6] == [waiting, "pending", "mail", "send_mail", "0/5", "due"]


def test_options_choose_and_an_empty_list_says_so(console: Console) -> None:
    job_with(console.storage, JobStatus.DEAD)
    enqueue(console.storage, queue_name="mail")

    (found,) = console.documents(
        "jobs", "list", "--dead", "--since", "1h", "-q", "default"
    )

    assert found["status"] == "dead"
    assert console.text("jobs", "list", "--kind", "none") == "no job matches\n"
    assert console.documents("jobs", "list", "--until", "2020-01-01T00:00:00Z") == []


def test_jobs_of_a_batch_and_those_that_wait_are_listed(
    either_console: Console,
) -> None:
    console = either_console
    enqueue(console.storage)
    made = console.storage.batches.create(NewBatch("report"), [NewJob("part")] * 2)
    first, second = (each.id for each in made.results)
    last = console.storage.jobs.enqueue(NewJob("last", after=[first])).id

    def ids(*words: str) -> list[str]:
        return [each["id"] for each in console.documents("jobs", "list", *words)]

    assert ids("--batch", made.id) == [second, first]
    assert ids("--waiting") == [last]
    assert ids("--waiting", "--batch", made.id) == []
    assert "pending: 2\n" in console.text("jobs", "list", "--batch", made.id, "--count")


def test_more_jobs_than_the_limit_are_mentioned(console: Console) -> None:
    for _ in range(3):
        enqueue(console.storage)

    result = console.run("jobs", "list", "--limit", "2")

    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "there are more than 2; see --limit\n"


def test_counts_of_each_state(console: Console) -> None:
    job_with(console.storage, JobStatus.DEAD)
    enqueue(console.storage)

    text = console.text("jobs", "list", "--count")

    assert "pending: 1\n" in text
    assert "dead: 1\n" in text


def test_a_job_is_shown_with_its_attempts(console: Console) -> None:
    job_id = console.storage.jobs.enqueue(
        NewJob("charge", {"card": "4111111111111111", "amount": 5})
    ).id
    run(console.storage, Failed("the bank\x1b[31m is away"))

    text = console.text("jobs", "show", job_id)
    revealed = console.text("jobs", "show", job_id, "--reveal")

    assert text.startswith(f"job {job_id}\n")
    assert '"amount": 5' in text
    assert "4111111111111111" not in text
    assert "--reveal shows them" in text
    assert "the bank\\x1b[31m is away" in text
    assert "ATTEMPT" in text
    assert "failed" in text
    assert "4111111111111111" in revealed
    assert console.entries()[0].action == "job_read"
    assert "no job has the id" in console.refusal("jobs", "show", "nowhere")
