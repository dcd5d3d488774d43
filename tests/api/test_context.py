from __future__ import annotations

import contextlib
import re
import subprocess
import sys

from flask import request

from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.model.workers import ServiceAge
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.api.mounting import PREFIX, mount
from tests.support.backends import each_backend
from tests.support.sql import SECOND_US, Sql


def test_storage_may_be_a_function_asked_at_each_request(storage: Storage) -> None:
    asked: list[None] = []

    def provide() -> Storage:
        asked.append(None)
        return storage

    client = mount(provide)
    assert not asked

    assert client.get(f"{PREFIX}/health").text == "ok"
    assert not asked
    assert client.get(f"{PREFIX}/queue/overview").json == []
    assert asked


@each_backend
def test_each_scrape_shows_the_storage_of_its_request(storage: Storage) -> None:
    with contextlib.closing(open_storage(DatabaseSettings())) as other:
        storage.workers.show("ours", None, [], [ServiceAge("cron", 1.0, 5.0)])
        other.workers.show("theirs", None, [], [ServiceAge("reaper", 1.0, 5.0)])
        client = mount(lambda: other if "other" in request.args else storage)

        texts = [
            client.get(f"{PREFIX}/metrics{query}").text for query in ("", "?other")
        ]

    assert [re.findall(r'{service="(.*)"}', text) for text in texts] == [
        ["cron"],
        ["reaper"],
    ]
    assert [re.findall(r'backend="(.*?)"', text) for text in texts] == [
        [storage.backend],
        ["sqlite"],
    ]
    assert ["oldest_snapshot" in text for text in texts] == [
        storage.backend == "postgres",
        False,
    ]


@each_backend
def test_a_scrape_tells_cool_downs_by_the_clock_of_the_database(
    storage: Storage, sql: Sql
) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))
    [job] = storage.jobs.claim("mail", "H")
    throttled = JobUpdate(
        job, JobStatus.PENDING, delay_s=60.0, uncount=True, cool_down_s=60.0
    )
    storage.jobs.finish("H", [throttled])
    a_day_ahead = StandingClock(sql.now_us() + 86_400 * SECOND_US)
    client = mount(storage, BlueprintOptions(clock=a_day_ahead))

    before = client.get(f"{PREFIX}/metrics").text
    sql.age(61)
    after = client.get(f"{PREFIX}/metrics").text

    assert 'queue_throttled{queue="mail"} 1' in before
    assert 'queue_throttled{queue="mail"} 0' in after


def test_api_imports_prometheus_at_the_first_scrape_only() -> None:
    """A worker process mounts the blueprint too and must start fast."""
    program = (
        "import sys; from flask_forge_jobs.blueprint import create_blueprint; "
        "create_blueprint(lambda: None); "
        "sys.exit('prometheus_client' in sys.modules)"
    )

    finished = subprocess.run([sys.executable, "-c", program], check=False)

    assert finished.returncode == 0


class StandingClock:
    def __init__(self, micros: int) -> None:
        self.micros = micros

    def now_us(self) -> int:
        return self.micros

    def monotonic(self) -> float:
        return 0.0

    def since_boot(self) -> float:
        return 0.0
