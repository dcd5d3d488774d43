from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.costs import lines_run, no_hang
from tests.support.jobs import run
from tests.support.sql import Sql

BODY = {"name": "nightly", "kind": "send_digest", "cron_expr": "0 6 * * *"}
KEYS = [
    "name", "kind", "payload", "queue_name", "cron_expr", "enabled", "max_attempts",
    "dedupe_key", "last_fired_at", "next_fire_at", "last_error", "created_at",
    "updated_at", "timezone", "catch_up", "catch_up_limit", "declared_by",
]  # fmt: skip


def call(
    client: FlaskClient, method: str, path: str = "", body: object = None
) -> TestResponse:
    return client.open(f"{PREFIX}/v1/cron{path}", method=method, json=body)


def create(client: FlaskClient, **values: object) -> TestResponse:
    return call(client, "POST", "", BODY | values)


def fault(answer: TestResponse) -> tuple[int, str, str]:
    assert answer.json is not None
    return answer.status_code, answer.json["kind"], answer.json["field"]


# -- create ------------------------------------------------------------------------


def test_a_schedule_is_created_with_the_defaults(client: FlaskClient) -> None:
    answer = create(client)

    assert answer.status_code == 201
    assert answer.json is not None
    assert list(answer.json) == KEYS
    assert answer.json["next_fire_at"].endswith("T06:00:00Z")
    given = {key: answer.json[key] for key in KEYS if not key.endswith("_at")}
    assert given == {
        "name": "nightly", "kind": "send_digest", "payload": {}, "queue_name": None,
        "cron_expr": "0 6 * * *", "enabled": True, "max_attempts": None,
        "dedupe_key": None, "last_error": None, "timezone": "UTC", "catch_up": "once",
        "catch_up_limit": 100, "declared_by": None,
    }  # fmt: skip
    assert call(client, "GET", "/nightly").json == answer.json


def test_a_schedule_is_created_with_every_value(
    client: FlaskClient, storage: Storage
) -> None:
    answer = create(
        client, payload=[1, {"a": None, "b": 2}], queue_name="mail", enabled=False,
        timezone="Europe/Berlin", max_attempts=7, dedupe=True,
        catch_up="all", catch_up_limit=24,
    )  # fmt: skip

    assert answer.status_code == 201
    assert storage.cron.get("nightly").definition == ScheduleDefinition(
        "nightly", "send_digest", "0 6 * * *", payload='[1,{"a":null,"b":2}]',
        queue_name="mail", timezone="Europe/Berlin", enabled=False, max_attempts=7,
        dedupe_key="nightly", catch_up="all", catch_up_limit=24,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "preview"),
        ("kind", " "),
        ("queue_name", "a,b"),
        ("cron_expr", "0 0 31 2 *"),
        ("catch_up", "twice"),
        ("timezone", "/usr/share/zoneinfo/UTC"),
        ("timezone", "localtime"),
        ("payload", "x" * 1_048_576),
    ],
)
def test_H37_what_is_out_of_bounds_is_400_and_named(
    client: FlaskClient, storage: Storage, field: str, value: Any
) -> None:
    assert fault(create(client, **{field: value})) == (400, "validation", field)
    assert storage.cron.all() == []


@pytest.mark.parametrize("field", ["name", "kind", "cron_expr"])
def test_a_missing_key_is_400(bare_client: FlaskClient, field: str) -> None:
    body = {key: value for key, value in BODY.items() if key != field}

    assert fault(call(bare_client, "POST", "", body)) == (400, "validation", field)


def test_255_characters_of_expression_are_taken(client: FlaskClient) -> None:
    text = "0 6 * * " + ",".join("1" * 124)

    assert len(text) == 255
    assert create(client, cron_expr=text).status_code == 201


def test_sec_S32_a_schedule_is_no_way_around_the_bound_of_kinds(
    storage: Storage,
) -> None:
    storage.jobs.enqueue(NewJob("known"))
    client = client_with_token(storage, "admin", max_kinds=2)
    own = {"name": "own", "kind": "own"}

    assert call(client, "POST", "", BODY | own).status_code == 201
    refused = [
        create(client, kind="invented"),
        call(client, "PATCH", "/own", {"kind": "invented"}),
    ]

    for answer in refused:
        assert fault(answer) == (400, "validation", "kind")
        assert "FORGE_JOBS_MAX_KINDS" in answer.text
    assert create(client, kind="known").status_code == 201
    fired = client.post(f"{PREFIX}/cron/own/trigger")
    assert fired.status_code == 200
    assert storage.job_reader.kinds() == ["known", "own"]


# -- read --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("name", ["none", "previews"])
def test_an_unknown_name_is_404(client: FlaskClient, method: str, name: str) -> None:
    body: object = {} if method == "PATCH" else None

    answer = call(client, method, f"/{name}", body)

    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["kind"] == "not_found"


# -- change ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"kind": "other"}, {"kind": "other"}),
        ({"payload": None}, {"payload": None}),
        ({"payload": {"n": 1}}, {"payload": {"n": 1}}),
        ({"queue_name": None}, {"queue_name": None}),
        ({"queue_name": "bulk"}, {"queue_name": "bulk"}),
        ({"cron_expr": "0 7 * * *"}, {"cron_expr": "0 7 * * *"}),
        ({"timezone": "Asia/Tokyo"}, {"timezone": "Asia/Tokyo"}),
        ({"enabled": False}, {"enabled": False, "next_fire_at": None}),
        ({"max_attempts": None}, {"max_attempts": None}),
        ({"dedupe": False}, {"dedupe_key": None}),
        ({"catch_up": "skip"}, {"catch_up": "skip"}),
        ({"catch_up_limit": 1000}, {"catch_up_limit": 1000}),
        (
            {"kind": "other", "dedupe": True, "max_attempts": 9},
            {"kind": "other", "dedupe_key": "nightly", "max_attempts": 9},
        ),
    ],
)
def test_a_change_changes_what_it_names(
    client: FlaskClient, changes: dict[str, object], changed: dict[str, object]
) -> None:
    values = {"queue_name": "mail", "max_attempts": 7, "dedupe": True, "payload": [1]}
    before = create(client, **values).json
    assert before is not None

    answer = call(client, "PATCH", "/nightly", changes)

    assert answer.status_code == 200
    assert answer.json is not None
    moved = {"cron_expr", "timezone"} & changes.keys()
    ignored = {"updated_at"} | ({"next_fire_at"} if moved else set())
    expected = before | changed
    assert [key for key in KEYS if answer.json[key] != expected[key]] == [
        key for key in KEYS if key in ignored
    ]
    assert call(client, "GET", "/nightly").json == answer.json


def test_a_change_of_nothing_is_not_written(client: FlaskClient) -> None:
    before = create(client).json

    for changes in ({}, {"kind": "send_digest", "enabled": True}, {"dedupe": False}):
        assert call(client, "PATCH", "/nightly", changes).json == before


def test_a_payload_as_it_was_read_does_not_replace_its_secrets(
    client: FlaskClient, storage: Storage
) -> None:
    create(client, payload={"password": "abc", "size": 1})
    shown = client.get(f"{PREFIX}/v1/cron/nightly").json
    assert shown is not None
    payload = shown["payload"] | {"size": 2}

    answer = call(client, "PATCH", "/nightly", {"payload": payload})

    assert fault(answer) == (400, "validation", "payload")
    stored = storage.cron.get("nightly").definition.payload
    assert json.loads(stored) == {"password": "abc", "size": 1}


def test_a_payload_may_have_the_mask_as_its_text(client: FlaskClient) -> None:
    create(client, name="other", payload={"note": "[redacted]"})

    answer = call(client, "PATCH", "/other", {"payload": {"note": "[redacted]!"}})

    assert answer.status_code == 200


def test_a_good_expression_enables_what_a_bad_one_disabled_unless_told(
    client: FlaskClient, sql: Sql
) -> None:
    create(client)
    disable = (
        "UPDATE forge_cron SET enabled = FALSE, next_fire_at = NULL, "
        "last_error = 'invalid cron expression: hm'"
    )
    sql.run(disable)
    kept = {"cron_expr": "0 7 * * *", "enabled": False}
    answer = call(client, "PATCH", "/nightly", kept).json
    assert answer is not None
    assert (answer["enabled"], answer["last_error"]) == (False, None)

    sql.run(disable)
    answer = call(client, "PATCH", "/nightly", {"cron_expr": "0 8 * * *"}).json
    assert answer is not None
    assert (answer["enabled"], answer["last_error"]) == (True, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", ""),
        ("queue_name", "a/b"),
        ("cron_expr", "0 0 30 2 *"),
        ("dedupe_key", "key"),
    ],
)
def test_a_bad_change_is_400_and_changes_nothing(
    client: FlaskClient, field: str, value: Any
) -> None:
    before = create(client).json

    answer = call(client, "PATCH", "/nightly", {"kind": "other"} | {field: value})

    assert fault(answer) == (400, "validation", field)
    assert call(client, "GET", "/nightly").json == before


# -- delete ------------------------------------------------------------------------


def test_a_schedule_is_deleted_once(client: FlaskClient) -> None:
    create(client)

    answer = call(client, "DELETE", "/nightly")

    assert (answer.status_code, answer.data) == (204, b"")
    assert call(client, "DELETE", "/nightly").status_code == 404
    assert client.get(f"{PREFIX}/cron").json == []


# -- preview -----------------------------------------------------------------------


def test_a_preview_is_words_and_instants(client: FlaskClient, storage: Storage) -> None:
    answer = call(
        client,
        "POST",
        "/preview",
        {"cron_expr": "30 6 * * MON-FRI", "timezone": "Asia/Kolkata", "count": 3},
    )

    assert answer.status_code == 200
    assert answer.json is not None
    assert list(answer.json) == ["description", "next"]
    assert answer.json["description"] == "At 06:30, on Monday to Friday"
    instants = [datetime.fromisoformat(text) for text in answer.json["next"]]
    assert len(instants) == 3
    assert {(at.hour, at.minute) for at in instants} == {(1, 0)}
    assert all(text.endswith(":00:00Z") for text in answer.json["next"])
    assert storage.cron.all() == []


def test_a_preview_shows_five_firings_in_utc(bare_client: FlaskClient) -> None:
    answer = call(bare_client, "POST", "/preview", {"cron_expr": "@hourly"})

    assert answer.json is not None
    assert len(answer.json["next"]) == 5


@pytest.mark.parametrize(
    ("field", "value"),
    [("cron_expr", "1--100000000 * * * *"), ("cron_expr", "0-59," * 50 + "99 * * * *")],
)
def test_H37_a_bad_preview_is_400_and_cheap(
    bare_client: FlaskClient, field: str, value: object
) -> None:
    body = {"cron_expr": "@hourly"} | {field: value}

    def preview() -> None:
        answer = call(bare_client, "POST", "/preview", body)
        assert fault(answer) == (400, "validation", field)

    preview()  # loads what the first request of a process needs
    with no_hang():
        assert lines_run(preview) < 20_000


def test_the_firings_of_a_window(client: FlaskClient) -> None:
    create(client, name="hourly", cron_expr="0 * * * *")
    job_id = client.post(f"{PREFIX}/cron/hourly/trigger").json

    answer = client.get(f"{PREFIX}/v1/cron/firings")

    assert answer.status_code == 200
    assert answer.json is not None
    assert list(answer.json) == ["from", "to", "now", "schedules"]
    (found,) = answer.json["schedules"]
    assert list(found) == [
        "name", "kind", "queue_name", "cron_expr", "timezone", "enabled",
        "next_fire_at", "last_error", "last_run", "fired", "fired_cut", "next",
        "next_cut",
    ]  # fmt: skip
    assert found["last_run"]["job_id"] == job_id
    assert [each["job_id"] for each in found["fired"]] == [job_id]
    assert len(found["next"]) == 12
    assert "X-Result-Truncated" not in answer.headers


def test_the_runs_of_a_schedule(client: FlaskClient) -> None:
    create(client, name="hourly")
    made = [client.post(f"{PREFIX}/cron/hourly/trigger").json for _ in range(2)]

    answer = client.get(f"{PREFIX}/v1/cron/hourly/runs?limit=1")

    assert answer.json is not None
    (run,) = answer.json["rows"]
    assert run["job_id"] == made[1]
    assert list(run) == [
        "job_id", "queue_name", "kind", "status", "fire_at", "enqueued_at",
        "started_at", "completed_at", "run_ms", "attempts", "error",
        "progress",
    ]  # fmt: skip
    cursor = answer.json["next_cursor"]
    assert f"cursor={cursor}" in answer.headers["Link"]
    rest = client.get(f"{PREFIX}/v1/cron/hourly/runs?limit=1&cursor={cursor}").json
    assert rest is not None
    assert [each["job_id"] for each in rest["rows"]] == made[:1]
    assert client.get(f"{PREFIX}/v1/cron/unknown/runs").status_code == 404


def test_a_limited_caller_gets_no_history(storage: Storage) -> None:
    mail = client_with_token(storage, "viewer", ["mail"])

    assert mail.get(f"{PREFIX}/v1/cron/firings").status_code == 403
    assert mail.get(f"{PREFIX}/v1/cron/hourly/runs").status_code == 403


def test_a_listed_schedule_has_its_last_run(
    client: FlaskClient, storage: Storage
) -> None:
    storage.cron.create(ScheduleDefinition("nightly", "send", "0 3 * * *"))
    storage.cron.create(ScheduleDefinition("weekly", "send", "0 3 * * 1"))
    client.post(f"{PREFIX}/cron/nightly/trigger")
    job_id = run(storage, Dead("no mailbox")).id

    answer = client.get(f"{PREFIX}/v1/cron")

    assert answer.json is not None
    nightly, weekly = answer.json
    assert weekly["last_run"] is None
    last_run = nightly["last_run"]
    assert last_run["job_id"] == job_id
    assert (last_run["status"], last_run["error"]) == ("dead", "no mailbox")
    assert last_run["run_ms"] >= 0
    assert answer.headers["X-Total-Count"] == "2"
