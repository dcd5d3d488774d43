from __future__ import annotations

import pytest

from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage


def test_verbs_on_jobs_are_timed_and_others_are_not(storage: Storage) -> None:
    storage.queues.ensure("default")
    assert storage.recorder.take_operations().writes.count == 0

    storage.jobs.enqueue(NewJob("noop"))
    storage.jobs.enqueue(NewJob("noop"))
    with pytest.raises(JobNotFoundError):
        storage.job_reader.get("unknown")

    operations = storage.recorder.take_operations()
    assert (operations.writes.count, operations.reads.count) == (3, 1)
    assert operations.writes.sum_us > 0
