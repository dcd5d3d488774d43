"""``flask forge-jobs batches``."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.batches import BatchState, NewBatch
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done
from tests.cli.console import Console
from tests.support.jobs import run

HOSTILE = "a\x1b[2J\u202e\r\nb"


def create(
    console: Console, name: str = "report", jobs: int = 3, *, is_sealed: bool = True
) -> str:
    new = NewBatch(name, {"token": "s3cr3t"})
    parts = [NewJob("part")] * jobs
    return console.storage.batches.create(new, parts, is_sealed=is_sealed).id


def test_batches_are_listed_with_their_counts(either_console: Console) -> None:
    console = either_console
    ended = create(console, "empty", 0)
    batch = create(console)
    run(console.storage, Done())
    run(console.storage, Dead("no"))
    console.storage.batches.tend()

    lines = console.text("batches", "list").splitlines()
    opened = console.documents("batches", "list", "--open")

    assert lines[0].split() == [
        "ID", "NAME", "STATE", "TOTAL", "WAITING", "RUNNING", "DONE", "DEAD", "CREATED",
    ]  # fmt: skip
    assert lines[1].split()[:8] == [batch, "report", "running", *"31011"]
    assert lines[2].split()[:3] == [ended, "empty", "done"]
    assert [each["id"] for each in opened] == [batch]
    assert (opened[0]["total"], opened[0]["done"], opened[0]["dead"]) == (3, 1, 1)


def test_the_list_is_cut_and_says_so(console: Console) -> None:
    for _ in range(3):
        create(console, jobs=0)

    shown = console.run("batches", "list", "--limit", "2")

    assert len(shown.stdout.splitlines()) == 3
    assert shown.stderr == "there are more than 2; see --limit\n"
    assert len(console.documents("batches", "list", "--limit", "2")) == 2


def test_a_batch_is_shown_with_what_is_dead(either_console: Console) -> None:
    console = either_console
    batch = create(console)
    run(console.storage, Dead("ValueError: no date"))

    text = console.text("batches", "show", batch)

    assert text.startswith(f"batch {batch}\n  name:")
    assert "  progress:       33%\n" in text
    assert "ValueError: no date" in text
    assert "s3cr3t" not in text
    assert "s3cr3t" in console.text("batches", "show", batch, "--reveal")
    [document] = console.documents("batches", "show", batch)
    assert (document["state"], document["dead"]) == ("running", 1)


def test_the_jobs_of_a_batch_are_listed_in_order(either_console: Console) -> None:
    console = either_console
    batch = create(console)
    ids = [each.id for each in console.storage.batches.jobs(batch)]
    run(console.storage, Dead("no"))

    rows = console.documents("batches", "jobs", batch)
    dead = console.text("batches", "jobs", batch, "--status", "dead").splitlines()
    cut = console.run("batches", "jobs", batch, "--limit", "2")

    assert [each["id"] for each in rows] == ids
    assert [line.split()[:2] for line in dead[1:]] == [[ids[0], "dead"]]
    assert len(cut.stdout.splitlines()) == 3
    assert console.text("batches", "jobs", batch, "-s", "done") == "no job matches\n"


@pytest.mark.parametrize("words", ["list", "show", "seal", "cancel -y", "retry"])
def test_a_hostile_name_does_not_reach_the_terminal(
    console: Console, words: str
) -> None:
    batch = create(console, HOSTILE, 1, is_sealed=False)
    verb, *options = words.split()

    text = console.text("batches", verb, *options, *([batch] * (verb != "list")))

    assert r"a\x1b[2J\u202e\r\nb" in text
    assert not any(each in text for each in "\x1b\u202e\r")


def test_a_cancel_asks_and_ends_what_waits(either_console: Console) -> None:
    console = either_console
    batch = create(console)
    run(console.storage, Done())

    refused = console.run("batches", "cancel", batch, answer="n\n")
    assert refused.exit_code == 1
    assert refused.stderr.startswith(
        f"2 unfinished jobs of batch {batch} (report) will be cancelled; go on? [y/N]"
    )
    assert "add --yes" in console.refusal("batches", "cancel", batch)
    agreed = console.run("batches", "cancel", batch, answer="y\n")

    assert agreed.stdout == (
        f"batch {batch} (report) cancelled; dead, 3 of 3 jobs ended, 2 dead\n"
    )
    of_cancel = [each for each in console.entries() if each.action == "batch_cancel"]
    assert {each.target for each in of_cancel} == {batch}
    assert "ended" in console.refusal("batches", "cancel", batch, "--yes")


def test_a_retry_runs_what_is_dead_again(either_console: Console) -> None:
    console = either_console
    batch = create(console, jobs=2)
    run(console.storage, Done())
    run(console.storage, Dead("no"))

    text = console.text("batches", "retry", batch)

    assert text == (
        f"1 job of batch {batch} (report) retried; running, 1 of 2 jobs ended, 0 dead\n"
    )
    [row] = console.storage.batches.jobs(batch, status=JobStatus.PENDING)
    assert row.attempts == 0
    assert console.text("batches", "retry", batch).startswith("0 jobs of batch")


def test_an_open_batch_is_sealed(console: Console) -> None:
    batch = create(console, jobs=1, is_sealed=False)

    text = console.text("batches", "seal", batch)

    assert text == (
        f"batch {batch} (report) sealed; running, 0 of 1 job ended, 0 dead\n"
    )
    assert console.storage.batches.get(batch).state is BatchState.RUNNING


def test_only_an_ended_batch_is_deleted(either_console: Console) -> None:
    console = either_console
    batch = create(console, jobs=1)
    assert "1" in console.refusal("batches", "delete", batch, "--yes")
    run(console.storage, Done())

    deleted = console.run("batches", "delete", batch, answer="y\n")

    assert f"batch {batch} (report) with 1 job will be deleted" in deleted.stderr
    assert deleted.stdout == f"batch {batch} (report) deleted\n"
    assert console.refusal("batches", "show", batch) == (
        f"Error: no batch has the id '{batch}'\n"
    )
