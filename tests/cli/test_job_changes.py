"""``flask forge-jobs jobs retry|cancel|delete|run-now|reschedule``."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead
from tests.cli.console import Console
from tests.support.jobs import dead_with_steps, enqueue, job_with, run


def status(console: Console, job_id: str) -> JobStatus:
    return console.storage.job_reader.get(job_id).status


def test_a_choice_is_counted_and_asked_about(either_console: Console) -> None:
    console = either_console
    job_id = job_with(console.storage, JobStatus.DEAD)
    job_with(console.storage, JobStatus.DONE, queue_name="mail")

    refused = console.run("jobs", "retry", "--dead", answer="n\n")
    before = status(console, job_id)
    agreed = console.run("jobs", "retry", "--dead", answer="y\n")

    assert "1 dead jobs will be retried; go on? [y/N]" in refused.stderr
    assert (refused.exit_code, before) == (1, JobStatus.DEAD)
    assert (agreed.exit_code, agreed.stdout) == (0, "1 job retried\n")
    assert status(console, job_id) is JobStatus.PENDING


def test_without_an_answer_nothing_is_changed(console: Console) -> None:
    job_id = job_with(console.storage, JobStatus.DEAD)

    assert "add --yes" in console.refusal("jobs", "retry", "--dead")

    assert status(console, job_id) is JobStatus.DEAD


def test_a_dry_run_only_counts(console: Console) -> None:
    job_id = job_with(console.storage, JobStatus.DEAD)

    text = console.text("jobs", "retry", "--dead", "--dry-run")

    assert text == "1 job would be retried\n"
    assert console.documents("jobs", "retry", "--dead", "--dry-run") == [{"matched": 1}]
    assert status(console, job_id) is JobStatus.DEAD
    assert {entry.changed for entry in console.entries()} == {0}


def test_named_jobs_are_changed_without_a_question(console: Console) -> None:
    dead, done = (
        job_with(console.storage, each, queue_name=each)
        for each in (JobStatus.DEAD, JobStatus.DONE)
    )

    alone = console.text("jobs", "retry", dead)
    result = console.run("jobs", "retry", done, "nowhere")

    assert alone == "1 job retried\n"
    assert result.exit_code == 1
    assert result.stdout == "0 jobs retried, 1 in another state, 1 unknown\n"


def test_nothing_matches(console: Console) -> None:
    assert console.text("jobs", "delete", "--done") == "0 jobs deleted\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("jobs", "retry"), "choose them by options or --all"),
        (("jobs", "retry", "--all", "J"), "choose them by options or --all"),
        (("jobs", "retry", "--dead", "J"), "choose them by options or --all"),
        (("jobs", "cancel", "--all", "--reason", "x"), "--reason works with ids"),
        (("jobs", "release"), "Missing argument"),
        (("jobs", "reschedule", "J"), "give --run-at, --delay"),
        (("jobs", "reschedule", "--all", "--priority", "1"), "work with ids"),
        (("jobs", "reschedule", "J", "--run-at", "soon"), "is not a time"),
        (
            (
                "jobs",
                "reschedule",
                "J",
                "--delay",
                "1",
                "--run-at",
                "2027-01-01T00:00Z",
            ),
            "not both",
        ),
    ],
)
def test_a_command_line_that_is_wrong(
    console: Console, words: tuple[str, ...], message: str
) -> None:
    result = console.run(*words)

    assert result.exit_code == 2
    assert message in result.stderr


def test_every_job_of_a_large_choice_is_changed(tmp_path: Path) -> None:
    """One call changes two."""
    console = Console(tmp_path, settings={"FORGE_JOBS_BULK_MAX": 2})
    ids = [enqueue(console.storage) for _ in range(5)]

    text = console.text("jobs", "delete", "--all", "--yes")

    assert text == "5 jobs deleted\n"
    assert console.storage.job_reader.ids_in(ids) == []
    assert sum(entry.changed for entry in console.entries()) == 5
    console.storage.close()


def test_cancel_keeps_a_reason(console: Console) -> None:
    job_id = enqueue(console.storage)

    text = console.text("jobs", "cancel", job_id, "--reason", "ordered twice")

    assert text == f"{job_id}: cancelled\n"
    assert "ordered twice" in str(console.storage.job_reader.get(job_id).last_error)
    assert "dead" in console.refusal("jobs", "cancel", job_id, "--reason", "again")


def test_reschedule_changes_start_priority_and_queue(console: Console) -> None:
    first, second = enqueue(console.storage), enqueue(console.storage)
    console.storage.queues.ensure("mail")

    by_id = console.text(
        "jobs", "reschedule", first, "--priority", "-5", "--to-queue", "mail"
    )
    by_choice = console.text(
        "jobs", "reschedule", "--queue", "default", "--delay", "3600", "--yes"
    )

    moved = console.storage.job_reader.get(first)
    assert (moved.priority, moved.queue_name) == (-5, "mail")
    assert by_id == f"{first}: rescheduled\n"
    assert by_choice == "1 job rescheduled\n"
    (row,) = console.documents("jobs", "list", "--scheduled")
    assert row["id"] == second
    assert console.text("jobs", "run-now", second) == "1 job due now\n"
    assert console.documents("jobs", "list", "--scheduled") == []


def test_a_retry_may_begin_with_the_first_step(console: Console) -> None:
    ids = [dead_with_steps(console.storage) for _ in range(2)]

    console.text("jobs", "retry", ids[0])
    console.text("jobs", "retry", "--restart", ids[1])

    left = [console.storage.steps.kept(each).results for each in ids]
    assert [len(each) for each in left] == [1, 0]


def waiting(console: Console, parent: str) -> str:
    return console.storage.jobs.enqueue(NewJob("send", after=[parent])).id


def test_jobs_that_died_with_another_one_come_back_with_it(
    either_console: Console,
) -> None:
    console = either_console
    parent = enqueue(console.storage)
    child = waiting(console, parent)
    run(console.storage, Dead("no"))
    assert status(console, child) is JobStatus.DEAD

    text = console.text("jobs", "retry", "--dead", "--dependents", "--yes")

    assert text == "2 jobs retried\n"
    assert console.storage.job_reader.get(child).is_waiting
    assert console.entries()[0].action == "jobs_act"


def test_the_jobs_of_a_batch_are_cancelled(console: Console) -> None:
    batch = console.storage.batches.create(NewBatch("report"), [NewJob("part")] * 2)
    other = enqueue(console.storage)

    text = console.text("jobs", "cancel", "--batch", batch.id, "--yes")
    waiting_ones = console.text("jobs", "cancel", "--waiting", "--dry-run")

    assert text == "2 jobs cancelled or asked to stop\n"
    assert waiting_ones == "0 jobs would be cancelled or asked to stop\n"
    assert status(console, other) is JobStatus.PENDING


def test_a_waiting_job_is_released_and_others_are_refused(
    either_console: Console,
) -> None:
    console = either_console
    parent = enqueue(console.storage)
    child = waiting(console, parent)

    skipped = console.text("jobs", "run-now", "--scheduled", "--yes")
    text = console.text("jobs", "release", child)

    assert skipped == "0 jobs due now, 1 that wait for other jobs\n"
    assert text == f"{child}: released\n"
    assert not console.storage.job_reader.get(child).is_waiting
    assert "pending" in console.refusal("jobs", "release", parent)
    assert console.refusal("jobs", "release", "nowhere") == (
        "Error: no job has the id 'nowhere'\n"
    )
