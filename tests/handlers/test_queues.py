from __future__ import annotations

import threading
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError, QueueNotFoundError
from flask_forge_jobs.handlers import queues
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.model.queues import CleanupReport, QueueCounts, QueueDeletion
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import update_for

IMPOSSIBLE = ["none", "", "a\x00b", "\ud800"]


def test_overview_joins_settings_counts_and_slots(storage: Storage) -> None:
    storage.queues.ensure("empty", 3)
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))
    storage.workers.beat("H", None, ["mail"], [SlotReport("mail-0-H-1", "mail")])

    empty, mail = queues.overview(storage)

    assert empty.settings.max_workers == 3
    assert (empty.counts, empty.oldest_due_age_s) == (QueueCounts(), 0)
    assert mail.counts == QueueCounts(pending=1)
    assert [slot.slot_id for slot in mail.slots] == ["mail-0-H-1"]


def test_one_queue_is_read_in_one_round_trip(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings, counts and slots are also of one moment"""
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))
    storage.workers.beat("H", None, ["mail"], [SlotReport("mail-0-H-1", "mail")])
    asked: list[str] = []
    caller = threading.get_ident()
    adapter = type(storage.database)
    for name in ("read", "read_one"):
        real = getattr(adapter, name)

        def ask(*args: Any, real: Any = real, name: str = name, **others: Any) -> Any:
            # The thread that stores figures asks, too.
            if threading.get_ident() == caller:
                asked.append(name)
            return real(*args, **others)

        monkeypatch.setattr(adapter, name, ask)

    found = queues.get_queue(storage, "mail")

    assert asked == ["read_one"]
    assert found.counts == QueueCounts(pending=1)
    assert [slot.slot_id for slot in found.slots] == ["mail-0-H-1"]


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_no_verb_knows_an_impossible_queue(storage: Storage, name: str) -> None:
    with pytest.raises(QueueNotFoundError):
        queues.get_queue(storage, name)
    with pytest.raises(QueueNotFoundError):
        queues.change(storage, name, {"paused": True})
    with pytest.raises(QueueNotFoundError):
        queues.delete(storage, name)
    with pytest.raises(QueueNotFoundError):
        queues.delete(storage, name, force=True)
    with pytest.raises(QueueNotFoundError):
        queues.act(storage, "pause", [name])


@pytest.mark.parametrize("name", ["", "a\x00b", "\ud800", " x"])
def test_create_names_the_field_of_a_bad_name(storage: Storage, name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        queues.create(storage, name, {})

    assert caught.value.field == "name"


def test_a_queue_is_created_and_changed(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name="other"))

    created = queues.create(storage, "mail", {"max_workers": 2})
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))
    queues.change(storage, "mail", {"paused": True})

    changed = queues.get_queue(storage, "mail")
    assert (created.settings.max_workers, created.counts.total) == (2, 0)
    assert (changed.settings.paused, changed.counts.pending) == (True, 1)


def test_delete_reports_what_became_of_the_jobs(storage: Storage) -> None:
    storage.queues.ensure("empty")
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))

    assert queues.delete(storage, "empty") == QueueDeletion()
    assert queues.delete(storage, "mail", force=True) == QueueDeletion(deleted=1)


def test_act_takes_two_words_and_a_thousand_queues(storage: Storage) -> None:
    storage.queues.ensure("mail")

    assert queues.act(storage, "pause", ["mail"] * 1000) == 1
    assert queues.act(storage, "resume") == 1
    with pytest.raises(InvalidInputError) as caught:
        queues.act(storage, "stop")
    assert caught.value.field == "action"
    with pytest.raises(InvalidInputError) as caught:
        queues.act(storage, "pause", ["mail"] * 1001)
    assert caught.value.field == "queues"


@pytest.mark.parametrize("name", IMPOSSIBLE)
@pytest.mark.parametrize("dry_run", [True, False, None])
def test_cleanup_of_no_queue_is_an_error(
    storage: Storage, name: str, dry_run: bool | None
) -> None:
    with pytest.raises(QueueNotFoundError):
        queues.cleanup(storage, queue_name=name, dry_run=dry_run)


def test_a_dry_run_deletes_nothing(storage: Storage) -> None:
    storage.queues.ensure("mail")
    storage.queues.change(
        "mail", {"retain_done_for_days": 0, "retain_dead_for_days": 0}
    )
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))
    (job,) = storage.jobs.claim("mail", "owner")
    update = update_for(job, Done(), failure_delay_s=1, user_cancelled=False)
    storage.jobs.finish("owner", [update])

    first = queues.cleanup(storage, dry_run=True)

    assert first == queues.cleanup(storage) == CleanupReport(done_deleted=1)
    assert queues.cleanup(storage) == CleanupReport()


def test_list_slots_takes_one_queue_or_all(storage: Storage) -> None:
    slots = [SlotReport("b-0-H-1", "b"), SlotReport("a-0-H-1", "a")]
    storage.workers.beat("H", None, ["a", "b"], slots)

    assert [each.queue_name for each in queues.list_slots(storage).slots] == ["a", "b"]
    assert [each.queue_name for each in queues.list_slots(storage, "b").slots] == ["b"]


@pytest.mark.parametrize("name", ["", "none", "a\x00b", "\ud800"])
def test_list_slots_of_no_queue_is_empty(storage: Storage, name: str) -> None:
    assert not queues.list_slots(storage, name).slots
