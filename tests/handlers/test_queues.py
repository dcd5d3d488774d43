from __future__ import annotations

import pytest

from flask_forge_jobs.errors import QueueNotFoundError
from flask_forge_jobs.handlers import queues
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Done, update_for
from flask_forge_jobs.model.queues import CleanupReport, QueueCounts
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage


def test_overview_joins_settings_counts_and_slots(storage: Storage) -> None:
    storage.queues.ensure("empty", 3)
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))
    storage.workers.beat("H", None, ["mail"], [SlotReport("mail-0-H-1", "mail")])

    empty, mail = queues.overview(storage)

    assert empty.settings.max_workers == 3
    assert (empty.counts, empty.oldest_due_age_s) == (QueueCounts(), 0)
    assert mail.counts == QueueCounts(pending=1)
    assert [slot.slot_id for slot in mail.slots] == ["mail-0-H-1"]


@pytest.mark.parametrize("name", ["none", "", "a\x00b", "\ud800"])
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
