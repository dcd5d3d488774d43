from __future__ import annotations

from flask_forge_jobs.cli.job_view import job_lines
from flask_forge_jobs.model.outcomes import Dead, Done
from tests.cli.console import Console
from tests.support.jobs import enqueue, run


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


def test_a_job_that_ended_has_them(console: Console) -> None:
    done, dead = enqueue(console.storage), enqueue(console.storage)
    run(console.storage, Done('{"rows": 3}'))
    run(console.storage, Dead("gone"))

    assert shown(console, done)["result"].strip() == '{"rows": 3}'
    assert shown(console, dead)["last error"].strip() == "gone"
