from __future__ import annotations

import pytest

from flask_forge_jobs.cli import events
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.state import state_of
from tests.cli.console import Console
from tests.support.jobs import enqueue, job_with
from tests.support.sql import Sql


def let_time_pass(console: Console, seconds: float = 5) -> None:
    """Events show when they are a second old."""
    Sql(state_of(console.app).database.settings).age(seconds)


def test_a_line_an_event(console: Console) -> None:
    assert console.text("events") == "no event matches\n"
    job_id = job_with(console.storage, JobStatus.DEAD)
    let_time_pass(console)

    lines = console.text("events").splitlines()

    assert [line.split()[2:] for line in lines] == [
        [each, "noop", "in", "default", job_id] for each in ("enqueued", "dead")
    ]
    (dead,) = console.documents("events", "--type", "dead", "--kind", "noop")
    assert dead["job_id"] == job_id
    assert console.documents("events", "--queue", "none") == []


def test_following_prints_new_events_until_ctrl_c(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [enqueue(console.storage)]
    let_time_pass(console)
    looks = iter(range(2))

    def look() -> None:
        if next(looks, None) is None:
            raise KeyboardInterrupt
        ids.append(enqueue(console.storage))
        let_time_pass(console, 1.5)

    monkeypatch.setattr(events, "_wait", look)

    result = console.run("events", "-f", "--limit", "1")

    assert result.exit_code == 130
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ids
