"""Bytes out: the encoder, and dump functions against marshmallow's own dump."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from flask import Flask, Response
from marshmallow import Schema
from werkzeug.test import EnvironBuilder

from flask_forge_jobs.api.response import (
    LastBody,
    counted,
    dumper,
    empty_response,
    encode,
    json_response,
    linked,
    writer,
    written_array_response,
)
from flask_forge_jobs.api.schemas.jobs import (
    JobInspectSchema,
    JobRowSchema,
    JobsPageSchema,
)
from flask_forge_jobs.api.schemas.queues import QueueOverviewSchema, QueueProcessSchema
from flask_forge_jobs.api.schemas.series import (
    MetricSeriesBucketSchema,
    TimelineBucketSchema,
)
from flask_forge_jobs.api.schemas.system import StorageInfoSchema
from flask_forge_jobs.handlers.jobs import JobDetail
from flask_forge_jobs.handlers.series import Bucket
from flask_forge_jobs.model.claims import ErrorEntry
from flask_forge_jobs.model.jobs import Job, JobStatus
from flask_forge_jobs.model.ordering import JobsPage
from flask_forge_jobs.model.queues import QueueCounts, QueueOverview, QueueSettings
from flask_forge_jobs.model.workers import Slot
from flask_forge_jobs.storage.base import StorageInfo

AT = datetime(2026, 9, 16, 9, 30, 11, 402_000, tzinfo=UTC)
EXACT = AT.replace(microsecond=0)
MICROS = AT.replace(microsecond=120_045)
PROCESS = Slot("mail-0-H-1", "mail", "H", AT, EXACT, "J")
IDLE = Slot("mail-1-H-1", "mail", "H", AT, MICROS)
JOB = Job(
    id="J",
    queue_name="mail",
    kind="send",
    payload="{}",
    status=JobStatus.FAILED,
    priority=-3,
    attempts=2,
    max_attempts=5,
    enqueued_at=AT,
    scheduled_at=EXACT,
    started_at=MICROS,
    last_error='a "quoted"\nline',
    error_history=(ErrorEntry("t", 1, "m"),),
)
OBJECTS: list[tuple[Schema, object]] = [
    (QueueProcessSchema(), PROCESS),
    (QueueProcessSchema(), IDLE),
    (JobRowSchema(), JOB),
    (JobInspectSchema(), JobDetail(JOB, {"b": [{"z": 1, "y": None}], "a": 1})),
    (JobInspectSchema(), JobDetail(JOB, None)),
    (JobsPageSchema(), JobsPage([JOB, JOB], total=2, limit=50, offset=0)),
    (StorageInfoSchema(), StorageInfo("sqlite", (("a", "1"), ("b", "2")))),
    (
        QueueOverviewSchema(),
        QueueOverview(
            QueueSettings("mail", throttled_until=AT),
            QueueCounts(1, 2, 3, 4, 5, 6),
            [PROCESS, IDLE],
            14,
        ),
    ),
    (QueueOverviewSchema(), QueueOverview(QueueSettings("mail"), QueueCounts(), [], 0)),
]


@pytest.mark.parametrize(("schema", "item"), OBJECTS)
def test_dumper_equals_marshmallow(schema: Schema, item: object) -> None:
    assert encode(dumper(schema)(item)) == encode(schema.dump(item))


def test_encoder_escapes_only_what_json_demands() -> None:
    text = 'é \u2028 / </script> \x7f " \\ \b\f\n\r\t \x01\x1f'

    encoded = encode(text)

    assert encoded == (
        'é \u2028 / </script> \x7f \\" \\\\ \\b\\f\\n\\r\\t \\u0001\\u001f'
    ).encode().join([b'"', b'"'])
    assert json.loads(encoded) == text


def test_encoder_survives_half_a_surrogate_pair() -> None:
    assert encode("a\ud800b") == b'"a?b"'


def test_encoder_refuses_what_is_not_json() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        encode(float("nan"))


@pytest.mark.parametrize(
    ("value", "expected"), [(True, b"true"), (3, b"3"), ("id", b'"id"'), ([], b"[]")]
)
def test_bare_values_are_compact(value: object, expected: bytes) -> None:
    response = json_response(value)

    assert response.data == expected
    assert response.headers["Content-Type"] == "application/json"


def test_empty_response_has_no_content_type() -> None:
    response = empty_response()

    assert response.status_code == 200
    assert response.data == b""
    assert "Content-Type" not in response.headers


def test_a_body_is_made_once_for_the_same_thing() -> None:
    last = LastBody()
    made: list[object] = []

    def make(shown: tuple[int, ...]) -> list[int]:
        made.append(shown)
        return list(shown)

    one: tuple[int, ...] = (1, 2)
    equal = tuple(number for number in one)

    assert last.of(one, make) == last.of(one, make) == b"[1,2]"
    assert len(made) == 1
    assert last.of(equal, make) == b"[1,2]"
    assert len(made) == 2
    assert last.of((), make) == b"[]"


@pytest.mark.parametrize("schema", [TimelineBucketSchema(), MetricSeriesBucketSchema()])
@pytest.mark.parametrize("at", [AT, EXACT, MICROS])
def test_writer_writes_what_is_dumped_and_encoded(schema: Schema, at: datetime) -> None:
    bucket = Bucket(at, 0, 1, 20, 300, 2**53, 0, 5, 6, 7, 8, 9, 10, 11, 12, 13)

    assert writer(schema)(bucket) == encode(schema.dump(bucket)).decode()


def test_writer_refuses_what_it_cannot_write() -> None:
    with pytest.raises(TypeError, match="neither an instant nor a whole number"):
        writer(QueueProcessSchema())


@pytest.mark.parametrize("numbers", [[], [1], [1, 2]])
def test_written_array_is_what_an_array_is(numbers: list[int]) -> None:
    written = written_array_response([str(number) for number in numbers])

    array = counted(json_response(numbers), len(numbers))
    assert written.data == array.data
    assert written.headers == array.headers


def test_the_next_page_has_everything_but_the_cursor_in_common() -> None:
    builder = EnvironBuilder(
        path="/forge jobs/v1/jobs",
        base_url="http://host/app",
        query_string="kind=a%26b&kind=c&cursor=old&q=%C3%BC",
    )

    with Flask("shop").request_context(builder.get_environ()):
        response = linked(Response(), "new-1")

    assert response.headers["Link"] == (
        "</app/forge%20jobs/v1/jobs?kind=a%26b&kind=c&q=%C3%BC&cursor=new-1>; "
        'rel="next"'
    )


@pytest.mark.parametrize(
    ("status", "header", "value"),
    [
        (200, "X-Total-Count", "3"),
        (201, "Location", "/v1/jobs/01M8T4HZCAQ5CHZMG7H8RZ7X0H"),
        (201, "Location", "/vor\xe4tig/a b"),
        (201, "Location", "http://b\xfccher.example/"),
        (200, "Content-Location", "/\xe4"),
        (204, "X-Total-Count", "3"),
        (304, "Content-Language", "de"),
    ],
)
@pytest.mark.parametrize("has_length", [True, False])
def test_sent_headers_are_those_of_werkzeug(
    status: int, header: str, value: str, has_length: bool
) -> None:
    environ = EnvironBuilder().get_environ()
    found = []
    for response in (
        json_response({"a": 1}, status),
        Response(encode({"a": 1}), status, content_type="application/json"),
    ):
        response.headers[header] = value
        if not has_length:
            del response.headers["Content-Length"]
        found.append(response.get_wsgi_response(environ)[1:])

    assert found[0] == found[1]


def test_sent_headers_are_not_copied_without_need() -> None:
    response = json_response("J", 201)
    response.headers["Location"] = "/jobs/v1/jobs/J"

    assert response.get_wsgi_headers({}) is response.headers
