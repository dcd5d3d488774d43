from __future__ import annotations

import pytest

from flask_forge_jobs.errors import InvalidInputError, QueueNotFoundError
from flask_forge_jobs.handlers import queue_admin
from flask_forge_jobs.handlers.queues import get_queue
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.queues import QueueDeletion
from flask_forge_jobs.storage.base import Storage

IMPOSSIBLE = ["none", "", "a\x00b", "\ud800"]


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_no_verb_knows_an_impossible_queue(storage: Storage, name: str) -> None:
    with pytest.raises(QueueNotFoundError):
        get_queue(storage, name)
    with pytest.raises(QueueNotFoundError):
        queue_admin.change(storage, name, {"paused": True})
    with pytest.raises(QueueNotFoundError):
        queue_admin.delete(storage, name)
    with pytest.raises(QueueNotFoundError):
        queue_admin.delete(storage, name, force=True)
    with pytest.raises(QueueNotFoundError):
        queue_admin.act(storage, "pause", [name])


@pytest.mark.parametrize("name", ["", "a\x00b", "\ud800", " x"])
def test_create_names_the_field_of_a_bad_name(storage: Storage, name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        queue_admin.create(storage, name, {})

    assert caught.value.field == "name"


def test_a_queue_is_created_and_changed(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name="other"))

    created = queue_admin.create(storage, "mail", {"max_workers": 2})
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))
    queue_admin.change(storage, "mail", {"paused": True})

    changed = get_queue(storage, "mail")
    assert (created.settings.max_workers, created.counts.total) == (2, 0)
    assert (changed.settings.paused, changed.counts.pending) == (True, 1)


def test_delete_reports_what_became_of_the_jobs(storage: Storage) -> None:
    storage.queues.ensure("empty")
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))

    assert queue_admin.delete(storage, "empty") == QueueDeletion()
    assert queue_admin.delete(storage, "mail", force=True) == QueueDeletion(deleted=1)


def test_act_takes_two_words_and_a_thousand_queues(storage: Storage) -> None:
    storage.queues.ensure("mail")

    assert queue_admin.act(storage, "pause", ["mail"] * 1000) == 1
    assert queue_admin.act(storage, "resume") == 1
    with pytest.raises(InvalidInputError) as caught:
        queue_admin.act(storage, "stop")
    assert caught.value.field == "action"
    with pytest.raises(InvalidInputError) as caught:
        queue_admin.act(storage, "pause", ["mail"] * 1001)
    assert caught.value.field == "queues"
