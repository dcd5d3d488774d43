from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.support.sql import Sql

FAR_OFF = datetime(2999, 1, 1, tzinfo=UTC)


def _assert_empty_200(answer: TestResponse) -> None:
    assert answer.status_code == 200
    assert answer.data == b""
    assert "Content-Type" not in answer.headers
    assert answer.headers["Content-Length"] == "0"


def _post(client: FlaskClient, path: str, body: object) -> TestResponse:
    return client.post(f"{PREFIX}/queue/{path}", json=body)


def test_overview_of_nothing_is_an_empty_array(client: FlaskClient) -> None:
    answer = client.get(f"{PREFIX}/queue/overview")

    assert answer.data == b"[]"


def test_overview_shows_queues_by_name_with_counts_and_slots(
    client: FlaskClient, storage: Storage
) -> None:
    storage.queues.ensure("zeta")
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))
    storage.jobs.enqueue(NewJob("k", queue_name="mail", run_at=FAR_OFF))
    storage.workers.beat("H", "w", ["mail"], [SlotReport("mail-0-H-1", "mail")])

    answer = client.get(f"{PREFIX}/queue/overview")

    assert answer.json is not None
    mail, zeta = answer.json
    assert (mail["name"], zeta["name"]) == ("mail", "zeta")
    assert mail["counts"] == {
        "pending": 1,
        "scheduled": 1,
        "in_progress": 0,
        "done": 0,
        "failed": 0,
        "dead": 0,
    }
    assert [slot["process_id"] for slot in mail["processes"]] == ["mail-0-H-1"]
    assert zeta["processes"] == []
    assert list(mail) == [
        "name",
        "paused",
        "max_workers",
        "counts",
        "processes",
        "retain_done_days",
        "retain_dead_days",
        "backoff_enabled",
        "backoff_base_seconds",
        "backoff_max_seconds",
        "throttled_until",
        "oldest_pending_age_seconds",
    ]


def test_overview_leaves_silent_slots_out_when_asked(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    storage.queues.ensure("mail")
    storage.workers.beat("old", None, ["mail"], [SlotReport("mail-0-old-1", "mail")])
    sql.age(61)
    storage.workers.beat("new", None, ["mail"], [SlotReport("mail-0-new-1", "mail")])

    def slots(query: str) -> list[str]:
        (mail,) = client.get(f"{PREFIX}/queue/overview{query}").json or []
        return [slot["process_id"] for slot in mail["processes"]]

    assert slots("") == slots("?live=0") == ["mail-0-new-1", "mail-0-old-1"]
    assert slots("?live=1") == slots("?live=true") == ["mail-0-new-1"]


def test_overview_takes_no_other_word_for_live(client: FlaskClient) -> None:
    answer = client.get(f"{PREFIX}/queue/overview?live=yes")

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == "live"


def test_workers_and_unserved_queues_are_shown(
    client: FlaskClient, storage: Storage
) -> None:
    url = f"{PREFIX}/queue/workers"
    assert client.get(url).data == b'{"workers":[],"unassigned_queues":[]}'
    storage.queues.ensure("mail")
    storage.queues.ensure("default")
    slots = [SlotReport("mail-0-H-1", "mail", "J"), SlotReport("mail-1-H-1", "mail")]
    storage.workers.beat("H", "mailer-1", ["mail", "default"], slots)

    answer = client.get(url).json

    assert answer is not None
    (worker,) = answer["workers"]
    assert worker["slots"] == [{"queue_name": "mail", "slots": 2}]
    assert (worker["workers_live"], worker["in_flight"]) == (2, 1)
    assert worker["queues"] == ["mail", "default"]
    assert answer["unassigned_queues"] == ["default"]


def test_more_than_5000_processes_are_cut_and_said_to_be(
    client: FlaskClient, storage: Storage
) -> None:
    url = f"{PREFIX}/queue/processes"
    slots = [SlotReport(f"mail-{n:04}", "mail") for n in range(5001)]
    storage.workers.beat("H", None, ["mail"], slots[:5000])
    whole = client.get(url)
    storage.workers.beat("H", None, ["mail"], slots)

    cut = client.get(url)

    assert whole.json is not None
    assert cut.json is not None
    assert len(whole.json) == len(cut.json) == 5000
    assert "X-Result-Truncated" not in whole.headers
    assert cut.headers["X-Result-Truncated"] == "true"
    assert whole.headers["X-Total-Count"] == "5000"
    assert cut.headers["X-Total-Count"] == "5001"


def test_processes_are_filtered_by_queue(client: FlaskClient, storage: Storage) -> None:
    slots = [SlotReport("a-0-H-1", "a", "J"), SlotReport("b-0-H-1", "b")]
    storage.workers.beat("H", None, ["a", "b"], slots)
    url = f"{PREFIX}/queue/processes"

    everything = client.get(url).json
    only_a = client.get(f"{url}?queue_name=a&odd=1").json

    assert everything is not None
    assert only_a is not None
    assert [slot["process_id"] for slot in everything] == ["a-0-H-1", "b-0-H-1"]
    assert [slot["process_id"] for slot in only_a] == ["a-0-H-1"]
    assert list(only_a[0]) == [
        "process_id",
        "queue_name",
        "host_id",
        "started_at",
        "heartbeat_at",
        "current_job_id",
    ]


@pytest.mark.parametrize("name", ["none", "", "%FF", "a,b", "x" * 300])
def test_processes_of_an_unknown_queue_are_an_empty_array(
    client: FlaskClient, name: str
) -> None:
    answer = client.get(f"{PREFIX}/queue/processes?queue_name={name}")

    assert (answer.status_code, answer.data) == (200, b"[]")


def test_settings_are_stored_and_answered_with_nothing(
    client: FlaskClient, storage: Storage
) -> None:
    storage.queues.ensure("mail")
    curve = {"enabled": True, "base_seconds": 5, "max_seconds": 86_400}

    _assert_empty_200(_post(client, "mail/max-workers", {"n": 1024}))
    _assert_empty_200(_post(client, "mail/paused", {"paused": True}))
    _assert_empty_200(_post(client, "mail/backoff", curve))
    days = {"done_days": 0, "dead_days": 36_500}
    _assert_empty_200(_post(client, "mail/retention", days))

    stored = storage.queues.get("mail")
    assert (stored.max_workers, stored.paused) == (1024, True)
    assert (stored.backoff_enabled, stored.backoff_base_seconds) == (True, 5)
    assert stored.backoff_max_seconds == 86_400
    assert (stored.retain_done_for_days, stored.retain_dead_for_days) == (0, 36_500)


GOOD: dict[str, dict[str, object]] = {
    "max-workers": {"n": 1},
    "paused": {"paused": True},
    "backoff": {"enabled": True, "base_seconds": 1, "max_seconds": 1},
    "retention": {"done_days": 1, "dead_days": 1},
}


@pytest.mark.parametrize("setting", GOOD)
def test_unknown_queue_is_404(client: FlaskClient, setting: str) -> None:
    answer = _post(client, f"none/{setting}", GOOD[setting])

    assert answer.status_code == 404
    assert answer.json is not None
    assert list(answer.json) == ["kind", "msg"]
    assert answer.json["kind"] == "not_found"


@pytest.mark.parametrize(
    ("setting", "body", "field"),
    [
        ("max-workers", {"n": 1025}, "n"),
        ("retention", {"done_days": 1}, "dead_days"),
        ("backoff", {**GOOD["backoff"], "base_seconds": 2}, "max_seconds"),
    ],
)
def test_value_out_of_bounds_is_400_and_changes_nothing(
    client: FlaskClient,
    storage: Storage,
    setting: str,
    body: dict[str, object],
    field: str,
) -> None:
    storage.queues.ensure("mail")
    before = storage.queues.get("mail")

    answer = _post(client, f"mail/{setting}", body)

    assert answer.status_code == 400
    assert answer.json is not None
    assert (answer.json["kind"], answer.json["field"]) == ("validation", field)
    assert storage.queues.get("mail") == before


def test_queue_name_in_a_path_may_be_unicode(
    client: FlaskClient, storage: Storage
) -> None:
    storage.queues.ensure("größe x")

    _assert_empty_200(_post(client, "gr%C3%B6%C3%9Fe%20x/paused", {"paused": True}))

    assert storage.queues.get("größe x").paused


def _fill(storage: Storage, sql: Sql, queue_name: str) -> None:
    storage.queues.ensure(queue_name)
    storage.queues.change(
        queue_name, {"retain_done_for_days": 0, "retain_dead_for_days": 0}
    )
    sql.seed(3, queue_name=queue_name, status="done", prefix=f"{queue_name}-done")
    sql.seed(2, queue_name=queue_name, status="dead", prefix=f"{queue_name}-dead")


@pytest.mark.parametrize("arguments", [{}, {"json": {}}])
def test_cleanup_needs_no_body(
    client: FlaskClient, storage: Storage, sql: Sql, arguments: dict[str, Any]
) -> None:
    _fill(storage, sql, "mail")

    answer = client.post(f"{PREFIX}/queue/cleanup", **arguments)

    assert answer.data == b'{"done_deleted":3,"dead_deleted":2}'
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 0


def test_cleanup_may_count_only_and_be_kept_to_one_queue(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    _fill(storage, sql, "mail")
    _fill(storage, sql, "other")

    counted = _post(client, "cleanup", {"queue_name": "mail", "dry_run": True})
    swept = _post(client, "cleanup", {"queue_name": "mail", "dry_run": None})

    assert counted.data == swept.data == b'{"done_deleted":3,"dead_deleted":2}'
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 5


def test_a_second_cleanup_at_once_is_409_and_says_when_to_come_back(
    client: FlaskClient, storage: Storage
) -> None:
    storage.leases.take("cleanup", "another process", 60)

    answer = client.post(f"{PREFIX}/queue/cleanup")

    assert answer.status_code == 409
    assert answer.headers["Retry-After"] == "1"
    assert answer.json == {"kind": "conflict", "msg": "a cleanup is under way"}


def test_a_cleanup_that_is_cut_says_so(storage: Storage, sql: Sql) -> None:
    client = mount(storage, BlueprintOptions(bulk_max=4))
    _fill(storage, sql, "mail")

    first = client.post(f"{PREFIX}/queue/cleanup")
    second = client.post(f"{PREFIX}/queue/cleanup")

    assert first.data == b'{"done_deleted":3,"dead_deleted":1}'
    assert first.headers["X-Bulk-Complete"] == "false"
    assert second.data == b'{"done_deleted":0,"dead_deleted":1}'
    assert "X-Bulk-Complete" not in second.headers
