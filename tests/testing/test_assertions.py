"""assert_enqueued and its opposite."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.testing import JobsKit


def test_assert_enqueued_finds_what_fits(jobs: JobsKit, forge: ForgeJobs) -> None:
    @forge.task
    def send(user_id: int, *, tags: Any = ()) -> None: ...

    tomorrow = jobs.clock.now() + timedelta(days=1)
    job_id = send.options(queue="mail", run_at=tomorrow).enqueue(7, tags=("a", "b")).id

    for wanted in (
        {},
        {"args": (7,)},
        {"args": {"user_id": 7, "tags": ("a", "b")}},
        {"args": {"tags": ["a", "b"]}, "queue": "mail"},
        {"at": tomorrow},
        {"at": timedelta(days=1)},
    ):
        assert jobs.assert_enqueued(send, **wanted).id == job_id
        with pytest.raises(AssertionError, match=f"(?s)^jobs were enqueued .*{7}"):
            jobs.assert_not_enqueued(send, **wanted)
    assert jobs.assert_enqueued("send", args={"user_id": 7}).id == job_id


def test_a_difference_is_shown_for_each_job(jobs: JobsKit, forge: ForgeJobs) -> None:
    @forge.task
    def send(user_id: int) -> None: ...

    for user_id in (1, 2):
        send.enqueue(user_id)
    far = timedelta(hours=3)

    for wanted in (
        {"args": {"user_id": True}},  # which is not 1
        {"args": {"user_id": 1, "name": "Ann"}},
        {"args": (1,), "queue": "mail"},
        {"args": (2,), "at": far},
    ):
        jobs.assert_not_enqueued(send, **wanted)
        with pytest.raises(AssertionError):
            jobs.assert_enqueued(send, **wanted)
    with pytest.raises(AssertionError) as raised:
        jobs.assert_enqueued(send, args={"user_id": 2, "name": "Ann"}, queue="mail")

    first, *rest = str(raised.value).splitlines()
    assert first.startswith("no job was enqueued for: send, args={'user_id': 2, ")
    assert "queue='mail'" in first
    assert rest[0].startswith("  send {\"user_id\":2} queue='default' at=")
    assert rest[1:3] == [
        "    args['name']: expected 'Ann', is missing",
        "    queue: expected 'mail', got 'default'",
    ]
    assert rest[4] == "    args['user_id']: expected 2, got 1"


def test_other_kinds_are_named_when_none_is_there(
    jobs: JobsKit, forge: ForgeJobs
) -> None:
    forge.enqueue("other")

    with pytest.raises(AssertionError, match="kind 'send' at all; enqueued: other"):
        jobs.assert_enqueued("send")
    with pytest.raises(TypeError, match="args as a dict"):
        jobs.assert_enqueued("other", args=(1,))
