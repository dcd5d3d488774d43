"""The reports on all cities: one is done, one stands until the ledger goes on."""

from __future__ import annotations

from flask_forge_jobs.demo import cities, shop
from flask_forge_jobs.model.batches import BatchState
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import on_sqlite


@on_sqlite
def test_the_cities_of_a_region_come_one_after_the_other(storage: Storage) -> None:
    ids = cities.begin_report(storage, "of today")

    (batch,) = storage.batches.page(2)
    assert (batch.name, batch.total) == ("report of today", shop.CITIES)
    assert batch.state is BatchState.RUNNING
    due = {job.id for job in storage.jobs.claim("reports", "w", 20)}
    assert due == set(ids[: cities.REGIONS])
    (parent,) = storage.links.parents_of(ids[-1])
    assert parent.id == ids[-1 - cities.REGIONS]
    assert storage.job_reader.get(ids[-1]).status is JobStatus.PENDING
