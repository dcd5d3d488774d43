from __future__ import annotations

import re

from flask_forge_jobs.cli.job_view import job_lines
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Dead, Done
from tests.cli.console import Console
from tests.support.jobs import OWNER, claim_one, dead_with_steps, enqueue, run


def shown(console: Console, job_id: str) -> dict[str, str]:
    (job,) = console.documents("jobs", "show", job_id)
    with console.app.app_context():
        lines = list(job_lines(job))
    facts = lines[1 : lines.index("") if "" in lines else None]
    return dict(line.strip().split(": ", 1) for line in facts)


def test_a_job_that_waits_has_neither_result_nor_attempts(console: Console) -> None:
    facts = shown(console, enqueue(console.storage, "noop", key="k-1"))

    assert facts["kind"].strip() == "noop"
    assert facts["dedupe key"].strip() == "k-1"
    assert facts["status"].strip() == "pending"
    assert {"result", "started", "ran", "last error"}.isdisjoint(facts)


def test_a_job_that_waits_for_others_has_no_date_of_the_year_9999(
    console: Console,
) -> None:
    parent = enqueue(console.storage)
    made = console.storage.batches.create(
        NewBatch("all"), [NewJob("k", after=[parent])]
    )
    [job_id] = [each.id for each in made.results]

    facts = shown(console, job_id)
    line = console.text("jobs", "list", "--kind", "k").splitlines()[1]

    assert facts["due"].strip() == "when other jobs have ended"
    assert facts["not before"].strip()[:2] == "20"
    assert facts["batch"].strip() == made.id
    assert "waits for jobs" in line
    console.text("jobs", "release", job_id)
    assert shown(console, job_id)["due"].strip()[:2] == "20"


def test_both_ends_of_a_link_are_listed(console: Console) -> None:
    storage = console.storage
    parent = enqueue(storage, "fetch")
    held = NewJob("parse", queue_name="mail", after=[parent], on_parent_dead="hold")
    child = storage.jobs.enqueue(held).id
    batch = storage.batches.create(NewBatch("all"), [NewJob("k", queue_name="x")]).id
    storage.jobs.enqueue(NewJob("last", after=[batch]))

    assert re.search(
        rf"AWAITED BY .*\n{child} +parse +mail +waits +hold\n",
        console.text("jobs", "show", parent),
    )
    assert re.search(
        rf"WAITS FOR .*\n{parent} +fetch +default +pending +hold +-\n",
        console.text("jobs", "show", child),
    )
    run(storage, Dead("no date"))
    last = console.documents("jobs", "list", "--kind", "last")[0]["id"]
    assert f"{batch}  batch  -      unfinished  cancel" in console.text(
        "jobs", "show", last
    )


def test_a_job_that_ended_has_them(console: Console) -> None:
    done, dead = enqueue(console.storage), enqueue(console.storage)
    run(console.storage, Done('{"rows": 3}'))
    run(console.storage, Dead("gone"))

    assert shown(console, done)["result"].strip() == '{"rows": 3}'
    assert shown(console, dead)["last error"].strip() == "gone"


def test_steps_are_listed_and_a_large_result_by_its_size(console: Console) -> None:
    storage = console.storage
    job_id = dead_with_steps(storage)
    storage.job_admin.requeue(job_id)
    later = claim_one(storage)
    storage.steps.keep(later.run_id, OWNER, "report", f'"{"x" * 5000}"')

    text = console.text("jobs", "show", job_id)

    facts = shown(console, job_id)
    assert (facts["steps"].strip(), facts["checkpoint"].strip()) == ("2", "7")
    assert re.search(r"fetch +1 .*\{\"n\": 1, \"token\": \"\[redacted\]\"\}", text)
    assert re.search(r"report +1 .* 5,002 bytes", text)
