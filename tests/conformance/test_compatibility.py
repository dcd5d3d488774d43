"""CT-01 to CT-18 of the contract, one test each, on both backends."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from tests.api.mounting import PREFIX
from tests.conformance.calls import BY_ID, UPSTREAM, call, path_of
from tests.conformance.contract import Entry, assert_follows, faults, place_of
from tests.conformance.seeding import JOB_ID, QUEUE, SCHEDULE
from tests.support.backends import each_backend

IDS = [entry.id for entry in UPSTREAM]
ROW_KEYS = frozenset(
    {
        "id", "queue_name", "kind", "status", "priority", "attempts", "max_attempts",
        "enqueued_at", "scheduled_at",
    }
)  # fmt: skip
# What the reference's client cannot do without, of each object that it reads.
NEEDED_KEYS: Mapping[str, frozenset[str]] = {
    "queue_overview": frozenset(
        {
            "name", "max_workers", "paused", "retain_done_days", "retain_dead_days",
            "counts",
        }
    ),
    "queue_processes": frozenset(
        {"process_id", "queue_name", "host_id", "started_at", "heartbeat_at"}
    ),
    "queue_workers": frozenset({"workers", "unassigned_queues"}),
    "queue_timeline": frozenset({"at", "enqueued", "completed", "failed"}),
    "queue_metric_series": frozenset({"at"}),
    "queue_resource_series": frozenset({"host", "buckets"}),
    "queue_db_series": frozenset({"host", "buckets"}),
    "queue_cleanup": frozenset({"done_deleted", "dead_deleted"}),
    "jobs_list": frozenset({"rows", "total", "limit", "offset"}),
    "jobs_failed": ROW_KEYS,
    "jobs_scheduled": ROW_KEYS,
    "job_inspect": frozenset({"row", "payload", "error_history"}),
    "cron_list": frozenset(
        {"name", "kind", "cron_expr", "enabled", "created_at", "updated_at"}
    ),
}  # fmt: skip
EMPTY_ANSWERS = {
    "queue_set_max_workers", "queue_set_paused", "queue_set_retention",
    "queue_set_backoff", "cron_set_enabled", "cron_set_expr", "cron_set_dedupe",
}  # fmt: skip
BARE_ANSWERS: Mapping[str, type] = {
    "jobs_enqueue": str, "jobs_enqueue_demo": str, "cron_trigger": str,
    "jobs_run_now": bool, "jobs_retry": int, "jobs_requeue": int,
    "jobs_retry_all_failed": int, "jobs_retry_all_by_status": int, "jobs_delete": int,
    "jobs_delete_done_older_than": int, "jobs_delete_by_status": int,
}  # fmt: skip
# The tags that the reference's client knows, with the keys that it demands.
CLIENT_ERRORS = {
    "validation": ["kind", "field", "msg"],
    "not_found": ["kind", "msg"],
    "storage": ["kind", "msg"],
    "rate_limited": ["kind", "retry_after_secs"],
    "internal": ["kind", "msg"],
}
OUR_ERRORS = {
    "conflict": ["kind", "msg"],
    "unauthorized": ["kind", "msg"],
    "forbidden": ["kind", "msg"],
    "method_not_allowed": ["kind", "msg"],
    "unavailable": ["kind", "msg", "retry_after_secs"],
}


def post(client: FlaskClient, path: str, document: object) -> TestResponse:
    body = json.dumps(document).encode()
    return client.post(f"{PREFIX}{path}", data=body, content_type="application/json")


def fault(answer: TestResponse) -> tuple[int, str, str | None]:
    document = json.loads(answer.data)
    assert_is_tagged(answer)
    return answer.status_code, document["kind"], document.get("field")


def assert_is_tagged(answer: TestResponse) -> None:
    assert answer.headers["Content-Type"] == "application/json"
    document = json.loads(answer.data)
    assert list(document) == (CLIENT_ERRORS | OUR_ERRORS)[document["kind"]]


def test_CT01_the_client_is_given_what_it_reads() -> None:
    """``test_routes`` checks that each answer follows its schema."""
    for entry_id, needed in NEEDED_KEYS.items():
        schema = BY_ID[entry_id].schema or {}
        described = schema.get("items", schema)
        assert set(described["required"]) >= needed, entry_id
        if "rows" in needed:
            assert set(described["properties"]["rows"]["items"]["required"]) >= ROW_KEYS


def test_CT01_the_client_has_32_calls() -> None:
    calls = [entry.client["call"] for entry in UPSTREAM if entry.client is not None]

    assert len(calls) == len(set(calls)) == 32


def test_CT02_every_kind_of_row_was_seen(client: FlaskClient) -> None:
    """An empty array follows every schema; none of these is empty."""
    filled = {"queue_overview", "queue_processes", "jobs_failed", "jobs_kinds",
              "jobs_scheduled", "cron_list"}  # fmt: skip
    for entry_id in filled:
        assert json.loads(call(client, BY_ID[entry_id]).data), entry_id
    workers = json.loads(call(client, BY_ID["queue_workers"]).data)
    assert workers["workers"][0]["slots"]
    detail = json.loads(call(client, BY_ID["job_inspect"]).data)
    assert detail["error_history"]


def test_CT04_exactly_seven_mutations_answer_nothing(client: FlaskClient) -> None:
    empty = set()
    for entry in UPSTREAM:
        answer = call(client, entry)
        if answer.data == b"":
            assert answer.status_code == 200
            assert "Content-Type" not in answer.headers
            empty.add(entry.id)

    assert empty == EMPTY_ANSWERS


@pytest.mark.parametrize("entry_id", sorted(BARE_ANSWERS.keys()))
def test_CT05_bare_values(client: FlaskClient, entry_id: str) -> None:
    value = json.loads(call(client, BY_ID[entry_id]).data)

    assert type(value) is BARE_ANSWERS[entry_id]
    if isinstance(value, str):
        assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", value)


@each_backend
@pytest.mark.parametrize(
    ("sent", "printed"),
    [
        ("2031-01-02T03:04:05.000Z", "2031-01-02T03:04:05Z"),
        ("2031-01-02T03:04:05.12Z", "2031-01-02T03:04:05.120Z"),
        ("2031-01-02T03:04:05.120045Z", "2031-01-02T03:04:05.120045Z"),
    ],
)
def test_CT06_a_fraction_has_the_fewest_digits(
    client: FlaskClient, sent: str, printed: str
) -> None:
    job_id = post(
        client, "/jobs/enqueue", {"kind": "later", "payload": None, "run_at": sent}
    ).json
    detail = client.get(f"{PREFIX}/jobs/inspect/{job_id}").json

    assert detail is not None
    assert detail["row"]["scheduled_at"] == printed


@each_backend
def test_CT07_a_float_has_a_fraction(client: FlaskClient) -> None:
    for entry_id in ("queue_resource_series", "queue_db_series"):
        entry = BY_ID[entry_id]
        answer = call(client, entry)
        assert_follows(entry, answer)


def test_CT07_the_check_of_floats_can_fail() -> None:
    (item,) = [BY_ID["queue_resource_series"].schema or {}]
    bucket = item["items"]["properties"]["buckets"]["items"]["properties"]["cpu_pct"]

    assert list(faults(bucket, 0.0)) == []
    assert list(faults(bucket, 0)) != []


@pytest.mark.parametrize(
    ("start", "status"),
    [
        ("2026-09-16T09%3A00%3A00%2B00%3A00", 200),
        ("2026-09-16T09:00:00Z", 200),
        ("2026-09-16+09:00:00Z", 200),
        ("2026-09-16%2009:00:00Z", 200),
        ("2026-09-16T09:00:00+00:00", 400),
    ],
)
def test_CT08_instants_in_a_query(client: FlaskClient, start: str, status: int) -> None:
    answer = client.get(
        f"{PREFIX}/queue/timeline?from={start}&to=2026-09-16T09:02:00Z&bucket_secs=60"
    )

    assert answer.status_code == status
    if status == 400:
        assert fault(answer) == (400, "validation", "from")
    else:
        assert answer.json is not None
        assert answer.json[0]["at"] == "2026-09-16T09:00:00Z"


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"filter": {"queues": [], "kinds": [], "statuses": []}}, 200),
        ({"filter": {}}, 200),
        ({}, 200),
        ({"filter": None}, 400),
    ],
)
def test_CT09_what_a_filter_may_leave_out(
    client: FlaskClient, wanted: dict[str, object], status: int
) -> None:
    answer = post(client, "/jobs/list", wanted | {"limit": 50, "offset": 0})

    assert answer.status_code == status
    if status == 400:
        assert fault(answer) == (400, "validation", "filter")


def test_CT10_an_unknown_job_is_an_error_that_the_client_can_read(
    client: FlaskClient,
) -> None:
    answer = client.get(f"{PREFIX}/jobs/inspect/01K5A4D3E4F5G6H7J8K9M0N1PX")

    assert answer.status_code == 404
    document = json.loads(answer.data)
    assert list(document) == CLIENT_ERRORS["not_found"]
    assert document["kind"] == "not_found"


def test_CT11_an_invalid_expression_names_its_field(client: FlaskClient) -> None:
    answer = post(client, f"/cron/{SCHEDULE}/expr", {"expr": "whenever"})

    assert fault(answer) == (400, "validation", "cron_expr")


ROUTES = {
    place_of(route.method, route.path): route for route in all_routes(enable_demo=True)
}


def route_of(entry: Entry) -> Route:
    return ROUTES[entry.place]


@pytest.mark.parametrize("entry", UPSTREAM, ids=IDS)
def test_CT12_every_framework_error_is_tagged(
    client: FlaskClient, entry: Entry
) -> None:
    path, route = path_of(entry), route_of(entry)

    wrong = client.open(path, method="PUT")
    assert fault(wrong) == (405, "method_not_allowed", None)
    assert entry.method in wrong.headers["Allow"]
    assert fault(client.open(f"{path.partition('?')[0]}/", method=entry.method)) == (
        404, "not_found", None,
    )  # fmt: skip
    if entry.method != "POST":
        return
    text = {"data": b"{}", "content_type": "text/plain"}
    assert fault(client.post(path, **text)) == (415, "validation", "content-type")
    long = {"data": b" " * (2_097_152 + 1), "content_type": "application/json"}
    assert fault(client.post(path, **long)) == (413, "validation", "body")
    if route.body is not None:
        cut = {"data": b'{"a":', "content_type": "application/json"}
        assert fault(client.post(path, **cut)) == (400, "validation", "json")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/jobs/enqueue", {"kind": "k", "payload": {}}),
        ("/jobs/delete-done-older-than", {"days": 0}),
        ("/jobs/delete-by-status", {"status": "dead"}),
    ],
)  # fmt: skip
def test_CT13_a_null_queue_is_no_queue(
    client: FlaskClient, path: str, body: dict[str, object]
) -> None:
    absent = post(client, path, body)
    null = post(client, path, body | {"queue_name": None})

    assert absent.status_code == null.status_code == 200
    assert type(absent.json) is type(null.json)


@pytest.mark.parametrize("value", [1, "true", 0, "yes", None, 1.0])
@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        (f"/queue/{QUEUE}/paused", {}, "paused"),
        (
            f"/queue/{QUEUE}/backoff",
            {"base_seconds": 60, "max_seconds": 1800},
            "enabled",
        ),
        (f"/cron/{SCHEDULE}/enabled", {}, "enabled"),
        (f"/cron/{SCHEDULE}/dedupe", {}, "dedupe"),
    ],
)
def test_CT14_only_a_boolean_is_a_boolean(
    client: FlaskClient, path: str, body: dict[str, object], key: str, value: object
) -> None:
    assert fault(post(client, path, body | {key: value})) == (400, "validation", key)
    assert post(client, path, body | {key: True}).status_code == 200


@each_backend
def test_CT15_metrics_are_the_ten_families(client: FlaskClient) -> None:
    lines = client.get(f"{PREFIX}/metrics").text.splitlines()
    told = [line for line in lines if not line.startswith("# HELP")]
    values = {
        "pending_jobs": (0, 1), "scheduled_jobs": (0, 3), "in_flight_jobs": (0, 1),
        "done_jobs": (0, 1), "failed_jobs": (0, 1), "dead_jobs": (0, 1),
        "oldest_pending_age_seconds": None, "max_workers": (64, 4), "paused": (0, 0),
        "throttled": (0, 0),
    }  # fmt: skip
    expected = []
    for name, counts in values.items():
        expected.append(f"# TYPE queue_{name} gauge")
        for queue, count in zip(("default", QUEUE), counts or (0, 0), strict=True):
            expected.append(f'queue_{name}{{queue="{queue}"}} {count}')

    ages = [line for line in told if "age_seconds{" in line]
    assert all(re.fullmatch(r"queue_\w+\{queue=\"\w+\"\} [0-9]+", age) for age in ages)
    told = [re.sub(r"(age_seconds\{.*) [0-9]+", r"\1 0", line) for line in told]
    assert told[: len(expected)] == expected


@each_backend
def test_CT16_buckets_begin_at_the_start(client: FlaskClient) -> None:
    start = datetime(2026, 9, 16, 9, 0, 7, tzinfo=UTC)

    def buckets(span_s: int, width_s: int) -> list[str]:
        end = start + timedelta(seconds=span_s)
        answer = client.get(
            f"{PREFIX}/queue/timeline?from={quote(start.isoformat())}"
            f"&to={quote(end.isoformat())}&bucket_secs={width_s}"
        )
        assert answer.status_code == 200, answer.text
        assert answer.json is not None
        return [bucket["at"] for bucket in answer.json]

    assert buckets(0, 60) == buckets(-60, 60) == buckets(60, 0) == []
    assert buckets(150, 60) == [
        "2026-09-16T09:00:07Z", "2026-09-16T09:01:07Z", "2026-09-16T09:02:07Z",
    ]  # fmt: skip
    assert len(buckets(1, 60)) == 1
    assert len(buckets(2000, 1)) == 2000


@pytest.mark.parametrize(
    "entry", [entry for entry in UPSTREAM if entry.method == "GET"], ids=lambda e: e.id
)
def test_CT17_head_is_get_without_a_body(client: FlaskClient, entry: Entry) -> None:
    got = client.get(path_of(entry))
    head = client.head(path_of(entry))

    assert head.status_code == got.status_code == 200
    assert head.data == b""
    for name in ("Content-Type", "Cache-Control"):
        assert head.headers[name] == got.headers[name]


def test_CT17_fifteen_routes_are_read_with_get() -> None:
    assert sum(entry.method == "GET" for entry in UPSTREAM) == 15


@pytest.mark.parametrize("entry", UPSTREAM, ids=IDS)
def test_CT18_nothing_is_a_redirect(client: FlaskClient, entry: Entry) -> None:
    path = path_of(entry).partition("?")[0]
    answers = [
        call(client, entry),
        client.open(f"{path}/", method=entry.method),
        client.open(path.replace("/queue/", "/queue//"), method=entry.method),
    ]

    for answer in answers:
        assert not 300 <= answer.status_code < 400
        assert "Location" not in answer.headers


def test_CT_every_id_of_the_client_stands_for_the_seeded_job(
    client: FlaskClient,
) -> None:
    """The bytes of the contract name a job; the data set has it."""
    for entry in UPSTREAM:
        body = (entry.client or {}).get("body") or ""
        for found in re.findall(r"01[0-9A-Z]{24}", body):
            assert found == JOB_ID
    assert client.get(f"{PREFIX}/jobs/inspect/{JOB_ID}").status_code == 200
