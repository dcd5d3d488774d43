"""``flask forge-jobs queues``; its entries are tested in ``test_local_api``."""

from __future__ import annotations

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.queues import QueueSettings, failure_delay_s
from tests.cli.console import Console
from tests.support.jobs import enqueue, job_with


def test_a_list_has_a_line_a_queue(console: Console) -> None:
    job_with(console.storage, JobStatus.DEAD, queue_name="mail")
    enqueue(console.storage, queue_name="bank")
    console.text("queues", "pause", "bank")
    console.text("queues", "cool-down", "mail", "--for", "600")

    head, bank, mail = console.text("queues", "list").splitlines()

    assert head.split() == [
        "QUEUE", "STATE", "PENDING", "SCHEDULED", "RUNNING", "FAILED", "DEAD",
        "OLDEST", "SLOTS",
    ]  # fmt: skip
    assert bank.split()[:7] == ["bank", "paused", "1", "0", "0", "0", "0"]
    assert mail.split()[:8] == ["mail", "cools", "down", "0", "0", "0", "0", "1"]


def test_without_a_queue_the_list_says_so(console: Console) -> None:
    console.storage.open()

    assert console.text("queues", "list").startswith("there is no queue yet")
    assert console.documents("queues", "list") == []


def test_the_base_of_the_back_off_is_half_of_its_first_delay(console: Console) -> None:
    queue = QueueSettings("mail", backoff_enabled=True, backoff_base_seconds=5)
    text = " ".join(console.text("queues", "set", "--help").split())

    assert failure_delay_s(1, queue) == 10
    assert "Half of the first retry delay" in text


def test_a_queue_is_created_changed_shown_and_deleted(console: Console) -> None:
    made = console.text("queues", "create", "mail", "--max-workers", "4", "--backoff")
    changed = console.text("queues", "set", "mail", "--max-pending", "9")
    text = console.text("queues", "show", "mail")
    (unbounded,) = console.documents("queues", "set", "mail", "--max-pending", "0")
    enqueue(console.storage, queue_name="mail")
    kept = console.refusal("queues", "delete", "mail", "--yes")
    deleted = console.text("queues", "delete", "mail", "--force", "--yes")

    assert (made, changed) == ("queue mail created\n", "queue mail changed\n")
    assert text.startswith("queue mail\n")
    assert "backoff enabled:" in text
    assert unbounded["max_pending"] is None
    assert (unbounded["max_workers"], unbounded["backoff_enabled"]) == (4, True)
    assert "unfinished" in kept
    assert deleted == "queue mail deleted with 1 job; 0 running jobs asked to stop\n"


def test_pause_keeps_the_user_and_the_reason(console: Console) -> None:
    console.storage.queues.ensure("mail")

    text = console.text(
        "queues", "pause", "mail", "--reason", "token=s3cr3t-t0ken gone"
    )

    queue = console.storage.queues.get("mail")
    assert text == "1 queue paused\n"
    assert queue.paused
    assert queue.pause_reason == "token=[redacted] gone"
    assert str(queue.paused_by).startswith("command:")
    assert "s3cr3t" not in console.entries()[0].arguments


def test_all_queues_at_once(console: Console) -> None:
    for name in ("mail", "bank"):
        console.storage.queues.ensure(name)
    console.text("queues", "pause", "--all")

    text = console.text("queues", "resume", "--all", "--reason", "deployed")

    assert text == "2 queues resumed\n"
    assert [queue.paused for queue in console.storage.queues.all()] == [False, False]


def test_a_cool_down_begins_and_ends(console: Console) -> None:
    console.storage.queues.ensure("mail")
    began = console.text(
        "queues", "cool-down", "mail", "--for", "600", "--reason", "down"
    )
    queue = console.storage.queues.get("mail")
    ended = console.text("queues", "end-cool-down", "mail")

    assert (began, ended) == ("1 queue cooling down\n", "1 queue open again\n")
    assert queue.throttled_until is not None
    assert str(queue.throttled_by).startswith("command:")
    assert queue.throttle_cause == "down"
    assert console.storage.queues.get("mail").throttled_until is None


def test_command_lines_that_are_wrong(console: Console) -> None:
    console.storage.queues.ensure("mail")

    for words in (("pause", "mail", "--all"), ("pause",), ("set", "mail")):
        assert console.run("queues", *words).exit_code == 2
    assert "seconds" in console.refusal("queues", "cool-down", "mail", "--for", "86401")
    assert "none" in console.refusal("queues", "show", "none")
    assert "add --yes" in console.refusal("queues", "delete", "mail")
