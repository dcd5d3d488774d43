from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.api import response
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.errors import QueueFullError
from flask_forge_jobs.handlers import cron
from flask_forge_jobs.model.cron import BAD_EXPRESSION, ScheduleDefinition
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.api.noting import Composing
from tests.support.jobs import claim_one
from tests.support.sql import Sql

NIGHTLY = ScheduleDefinition("nightly", "send_digest", "0 0 6 * * *", queue_name="mail")
BODIES = {
    "enabled": {"enabled": False},
    "expr": {"expr": "0 */10 * * * *"},
    "dedupe": {"dedupe": True},
}


def post(client: FlaskClient, path: str, body: object = None) -> TestResponse:
    return client.post(f"{PREFIX}/cron/{path}", json={} if body is None else body)


def assert_empty_200(answer: TestResponse) -> None:
    assert (answer.status_code, answer.data) == (200, b"")
    assert "Content-Type" not in answer.headers
    assert answer.headers["Content-Length"] == "0"


def state(sql: Sql) -> tuple[Any, ...]:
    (row,) = sql.run(
        "SELECT enabled, cron_expr, dedupe_key, next_fire_at, updated_at "
        "FROM forge_cron"
    )
    return row


def test_no_schedules_are_an_empty_array(client: FlaskClient) -> None:
    answer = client.get(f"{PREFIX}/cron")

    assert (answer.status_code, answer.data) == (200, b"[]")


def test_the_answer_is_composed_by_one_thread_at_a_time_and_read_by_any(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading may hang, and must not hold the lock meanwhile."""
    storage.cron.create(NIGHTLY)
    storage.cron.create(replace(NIGHTLY, name="weekly"))
    composing = Composing(monkeypatch)
    composing.note(storage.cron_history, "first")
    composing.note(cron, "detail")
    composing.note(response, "encode")
    answer = mount(storage).get(f"{PREFIX}/cron")

    assert answer.json is not None
    assert [each["name"] for each in answer.json] == ["nightly", "weekly"]
    # Each is masked and written in turn, so that there is a pause after each.
    each_of_them = [("detail", True), ("encode", True)]
    assert composing.seen == [("first", False), *each_of_them, *each_of_them]


def test_schedules_are_listed_with_the_13_keys_of_the_reference(
    client: FlaskClient, storage: Storage
) -> None:
    storage.cron.create(ScheduleDefinition("weekly", "k", "@weekly", enabled=False))
    storage.cron.create(NIGHTLY)

    answer = client.get(f"{PREFIX}/cron")

    assert answer.json is not None
    nightly, weekly = answer.json
    assert list(nightly) == [
        "name", "kind", "payload", "queue_name", "cron_expr", "enabled",
        "max_attempts", "dedupe_key", "last_fired_at", "next_fire_at", "last_error",
        "created_at", "updated_at",
    ]  # fmt: skip
    assert nightly["next_fire_at"].endswith("T06:00:00Z")
    assert (weekly["name"], weekly["next_fire_at"]) == ("weekly", None)
    below_v1 = client.get(f"{PREFIX}/v1/cron").json
    assert below_v1 is not None
    assert [list(each) for each in below_v1] == [
        [*nightly, "timezone", "catch_up", "catch_up_limit", "declared_by", "last_run"]
    ] * 2
    assert [nightly.items() <= each.items() for each in below_v1] == [True, False]


@pytest.mark.parametrize("verb", [*BODIES, "trigger"])
def test_an_unknown_name_is_404(client: FlaskClient, verb: str) -> None:
    answer = post(client, f"none/{verb}", BODIES.get(verb))

    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["kind"] == "not_found"


# -- enabled -----------------------------------------------------------------------


def test_a_schedule_is_disabled_and_enabled(
    client: FlaskClient, storage: Storage
) -> None:
    storage.cron.create(NIGHTLY)

    assert_empty_200(post(client, "nightly/enabled", {"enabled": False}))
    assert storage.cron.get("nightly").next_fire_at is None
    assert_empty_200(post(client, "nightly/enabled", {"enabled": True}))
    assert storage.cron.get("nightly").next_fire_at is not None


def test_enabling_what_is_enabled_keeps_the_firing_that_is_due(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    storage.cron.create(NIGHTLY)
    sql.run("UPDATE forge_cron SET next_fire_at = 5, updated_at = 7")

    assert_empty_200(post(client, "nightly/enabled", {"enabled": True}))

    assert state(sql)[3:] == (5, 7)


def test_what_never_fires_again_is_not_enabled(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    storage.cron.create(NIGHTLY)
    post(client, "nightly/enabled", {"enabled": False})
    sql.run("UPDATE forge_cron SET cron_expr = '0 0 0 1 1 ? 2020'")

    answer = post(client, "nightly/enabled", {"enabled": True})

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == "cron_expr"


# -- expr --------------------------------------------------------------------------


@pytest.mark.parametrize("expr", ["0 */10 * * * *", "*/10 * * * *", "@daily"])
def test_an_expression_is_replaced(
    client: FlaskClient, storage: Storage, sql: Sql, expr: str
) -> None:
    storage.cron.create(NIGHTLY)
    sql.run("UPDATE forge_cron SET next_fire_at = 5")

    assert_empty_200(post(client, "nightly/expr", {"expr": expr}))

    after = storage.cron.get("nightly")
    assert after.definition.cron_expr == expr
    assert after.next_fire_at is not None
    assert after.next_fire_at > after.created_at


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        ("whenever", "has 1 fields"),
        ("0 61 * * * *", "minute: 61 is not within 0 to 59"),
    ],
)
@pytest.mark.parametrize("name", ["nightly", "none"])
def test_H37_a_bad_expression_is_400_before_404(
    client: FlaskClient, storage: Storage, name: str, expr: str, said: str
) -> None:
    storage.cron.create(NIGHTLY)

    answer = post(client, f"{name}/expr", {"expr": expr})

    assert answer.status_code == 400
    assert answer.json is not None
    assert (answer.json["kind"], answer.json["field"]) == ("validation", "cron_expr")
    assert said in answer.json["msg"]
    assert storage.cron.get("nightly").definition == NIGHTLY


def test_H37_an_expression_without_a_future_is_400(
    client: FlaskClient, storage: Storage
) -> None:
    storage.cron.create(NIGHTLY)

    for expr in ("0 0 31 2 *", "0 0 0 31 2 *", "0 0 0 1 1 ? 2020"):
        answer = post(client, "nightly/expr", {"expr": expr})
        assert answer.status_code == 400
        assert answer.json is not None
        assert answer.json["field"] == "cron_expr"
        assert "no occurrence" in answer.json["msg"]


def test_a_good_expression_enables_what_a_bad_one_disabled(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    storage.cron.create(NIGHTLY)
    sql.run(
        "UPDATE forge_cron SET enabled = FALSE, next_fire_at = NULL, last_error = ?",
        f"{BAD_EXPRESSION}hm",
    )

    assert_empty_200(post(client, "nightly/expr", {"expr": "@daily"}))

    after = storage.cron.get("nightly")
    assert (after.definition.enabled, after.last_error) == (True, None)


def test_an_expression_does_not_enable_what_an_operator_disabled(
    client: FlaskClient, storage: Storage
) -> None:
    storage.cron.create(NIGHTLY)
    post(client, "nightly/enabled", {"enabled": False})

    assert_empty_200(post(client, "nightly/expr", {"expr": "@daily"}))

    after = storage.cron.get("nightly")
    assert (after.definition.enabled, after.next_fire_at) == (False, None)


# -- dedupe ------------------------------------------------------------------------


def test_dedupe_sets_the_name_as_key_and_removes_it(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    storage.cron.create(NIGHTLY)

    assert_empty_200(post(client, "nightly/dedupe", {"dedupe": True}))
    assert state(sql)[2] == "nightly"
    assert_empty_200(post(client, "nightly/dedupe", {"dedupe": False}))
    assert state(sql)[2] is None


def test_dedupe_keeps_a_custom_key(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    storage.cron.create(NIGHTLY)
    sql.run("UPDATE forge_cron SET dedupe_key = 'custom'")

    assert_empty_200(post(client, "nightly/dedupe", {"dedupe": True}))

    assert state(sql)[2] == "custom"


# -- trigger -----------------------------------------------------------------------


def test_trigger_makes_the_job_of_a_firing_and_leaves_the_series(
    client: FlaskClient, storage: Storage
) -> None:
    before = storage.cron.create(NIGHTLY)

    answer = post(client, "nightly/trigger")

    assert answer.status_code == 200
    assert answer.headers["X-Job-Deduped"] == "false"
    assert answer.headers["X-Queue-Created"] == "true"
    job = storage.job_reader.get(str(answer.json))
    assert (job.kind, job.queue_name, job.payload) == ("send_digest", "mail", "{}")
    assert (job.priority, job.max_attempts, job.dedupe_key) == (0, 5, None)
    assert job.schedule_name == "nightly"
    assert storage.cron.get("nightly") == before


def test_trigger_asks_the_hosts_router(storage: Storage) -> None:
    storage.cron.create(ScheduleDefinition("routed", "send_digest", "@daily"))
    client = mount(storage, BlueprintOptions(router=lambda kind: f"of-{kind}"))

    answer = post(client, "routed/trigger")

    job = storage.job_reader.get(str(answer.json))
    assert job.queue_name == "of-send_digest"


def test_trigger_finds_room_in_a_full_queue_as_a_firing_does(
    client: FlaskClient, storage: Storage
) -> None:
    storage.cron.create(NIGHTLY)
    storage.queues.create(QueueSettings("mail", max_pending=1))
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))

    answers = [post(client, "nightly/trigger") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert storage.queues.waiting(["mail"]) == {"mail": 3}
    with pytest.raises(QueueFullError):
        storage.jobs.enqueue(NewJob("send", queue_name="mail"))


def test_trigger_keeps_to_the_dedupe_key(client: FlaskClient, storage: Storage) -> None:
    storage.cron.create(NIGHTLY.deduped(True))

    first, second = (post(client, "nightly/trigger") for _ in range(2))

    assert first.json == second.json
    assert second.headers["X-Job-Deduped"] == "true"
    claim_one(storage, queue_name="mail")
    assert post(client, "nightly/trigger").json == first.json


def test_trigger_works_while_the_schedule_is_disabled(
    client: FlaskClient, storage: Storage
) -> None:
    storage.cron.create(NIGHTLY)
    post(client, "nightly/enabled", {"enabled": False})

    assert post(client, "nightly/trigger").status_code == 200
    assert storage.cron.get("nightly").next_fire_at is None


def test_trigger_with_a_key_that_another_kind_holds_is_409(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    storage.cron.create(NIGHTLY.deduped(True))
    post(client, "nightly/trigger")
    sql.run("UPDATE forge_cron SET kind = 'other'")

    answer = post(client, "nightly/trigger")

    assert answer.status_code == 409


def test_trigger_reads_no_body(client: FlaskClient, storage: Storage) -> None:
    storage.cron.create(NIGHTLY)

    send: Callable[..., TestResponse] = client.post
    path = f"{PREFIX}/cron/nightly/trigger"
    assert send(path).status_code == 200
    assert send(path, data="x", content_type="application/json").status_code == 200
    assert send(path, data="x", content_type="text/plain").status_code == 415
