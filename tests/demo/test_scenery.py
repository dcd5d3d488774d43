"""The shop has a cause for its failures, and is set up once."""

from __future__ import annotations

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.demo import scenery, shop
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import on_sqlite


@on_sqlite
def test_the_shop_stands_as_it_should_and_is_not_set_up_again(
    storage: Storage,
) -> None:
    now_us = SystemClock().now_us()

    scenery.prepare(storage, now_us)
    storage.queues.change(shop.LEDGER, {"paused": False})
    scenery.prepare(storage, now_us)

    names = {settings.name for settings in storage.queues.all()}
    assert names == set(scenery.QUEUES)
    assert not storage.queues.get(shop.LEDGER).paused
    waiting = storage.queues.waiting(scenery.QUEUES)
    assert waiting[shop.LEDGER] == scenery.UNENTERED
    assert waiting["orders"] >= scenery.UNCLOSED
    assert len(storage.cron.all()) == 5
    assert storage.rate_limits.get(shop.GATEWAY).capacity == 5
    (entry,) = storage.audit.page(AuditFilter(), 10)
    assert entry.record.actor == scenery.WHO
