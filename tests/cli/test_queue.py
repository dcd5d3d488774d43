"""``flask forge-jobs queue`` changes queues and leaves an audit entry for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.model.audit import AuditFilter, AuditRecord
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("shop", instance_path=str(tmp_path))
    ForgeJobs(app)
    return app


@pytest.fixture
def storage(app: Flask) -> Iterator[Storage]:
    storage = state_of(app).storage
    for name in ("bank", "mail"):
        storage.queues.ensure(name)
    yield storage
    storage.close()


def invoke(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=["forge-jobs", "queue", *words])


def records(storage: Storage) -> list[AuditRecord]:
    return [each.record for each in storage.audit.page(AuditFilter(), 9)]


def test_pause_keeps_the_user_and_the_reason(app: Flask, storage: Storage) -> None:
    result = invoke(app, "pause", "mail", "--reason", "token=s3cr3t-t0ken expired")

    assert result.output == "pause: 1 queue changed\n"
    queue = storage.queues.get("mail")
    assert queue.paused
    assert queue.pause_reason == "token=[redacted] expired"
    [record] = records(storage)
    assert (record.action, record.changed) == ("queue_pause", 1)
    assert record.actor == queue.paused_by
    assert record.actor.startswith("command:")
    assert record.arguments == (
        '{"queues": ["mail"], "reason": "token=[redacted] expired"}'
    )


def test_resume_takes_all_queues(app: Flask, storage: Storage) -> None:
    invoke(app, "pause", "--all")

    result = invoke(app, "resume", "--all", "--reason", "deployed")

    assert result.output == "resume: 2 queues changed\n"
    assert [queue.paused for queue in storage.queues.all()] == [False, False]


def test_a_cool_down_begins_and_ends(app: Flask, storage: Storage) -> None:
    began = invoke(app, "cool-down", "mail", "--for", "600", "--reason", "partner down")
    queue = storage.queues.get("mail")
    ended = invoke(app, "end-cool-down", "mail")

    assert began.output == "cool_down: 1 queue changed\n"
    assert queue.throttled_until is not None
    assert (queue.throttled_by or "").startswith("command:")
    assert queue.throttle_cause == "partner down"
    assert ended.output == "end_cooldown: 1 queue changed\n"
    assert storage.queues.get("mail").throttled_until is None


def test_a_refused_change_leaves_no_entry(app: Flask, storage: Storage) -> None:
    unknown = invoke(app, "pause", "mail", "none")
    too_long = invoke(app, "cool-down", "mail", "--for", "86401")
    ambiguous = invoke(app, "pause", "mail", "--all")
    nothing = invoke(app, "pause")

    assert (unknown.exit_code, too_long.exit_code) == (1, 1)
    assert "none" in unknown.stderr
    assert "seconds" in too_long.stderr
    assert (ambiguous.exit_code, nothing.exit_code) == (2, 2)
    assert not storage.queues.get("mail").paused
    assert records(storage) == []
