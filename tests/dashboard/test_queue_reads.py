from __future__ import annotations

import pytest

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.dashboard.queue_reads import all_queues, rows_of
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import MovingClock


@pytest.fixture
def api(storage: Storage, clock: MovingClock) -> Api:
    return Api(storage, BlueprintOptions(clock=clock), ())


def test_pages_share_a_read_for_a_second(
    storage: Storage, api: Api, clock: MovingClock
) -> None:
    storage.queues.create(QueueSettings("mail"))
    first = all_queues(api)
    storage.queues.create(QueueSettings("bulk"))

    assert all_queues(api) is first
    clock.move(1.5)
    assert [each.settings.name for each in all_queues(api)] == ["bulk", "mail"]


def test_rows_are_those_of_the_queues_asked_for(storage: Storage, api: Api) -> None:
    storage.queues.create(QueueSettings("mail"))
    storage.queues.create(QueueSettings("bulk"))
    mail = [each for each in all_queues(api) if each.settings.name == "mail"]

    assert [row.name for row in rows_of(api, mail)] == ["mail"]
    assert [row.name for row in rows_of(api, all_queues(api))] == ["bulk", "mail"]
    assert rows_of(api, []) == []
