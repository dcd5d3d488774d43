"""A form stands for exactly one JSON document, and costs no more than its bytes."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from urllib.parse import urlencode

import pytest
from flask import Flask, request
from marshmallow import Schema
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from flask_forge_jobs.api.forms import (
    FORM_MEDIA_TYPE,
    MAX_FIELDS,
    MAX_NAME_LENGTH,
    Form,
    document_of,
    read_form,
)
from flask_forge_jobs.api.options import DEFAULT_MAX_BODY_BYTES
from flask_forge_jobs.api.schemas.bulk import ActionRequestSchema
from flask_forge_jobs.api.schemas.cron import CreateScheduleRequestSchema
from flask_forge_jobs.api.schemas.new_jobs import (
    NewJobRequestSchema,
    NewJobsRequestSchema,
)
from flask_forge_jobs.api.schemas.queues import ChangeQueueRequestSchema
from flask_forge_jobs.api.schemas.rate_limits import RateLimitRequestSchema
from flask_forge_jobs.errors import InvalidInputError

# Of the processor, for 2 MiB.
MAX_S = 0.5
MAX_MEMORY = 40 * 2**20


def _read(
    body: str | bytes, *, limit: int = DEFAULT_MAX_BODY_BYTES, **context: object
) -> Form:
    context.setdefault("content_type", FORM_MEDIA_TYPE)
    app = Flask("host")
    with app.test_request_context("/", method="POST", data=body, **context):
        return read_form(request._get_current_object(), limit)  # type: ignore[attr-defined]


def _fault(body: str | bytes, schema: Schema | None = None) -> tuple[str, str]:
    with pytest.raises(InvalidInputError) as caught:
        document_of(_read(body), schema or ActionRequestSchema())
    return caught.value.field, caught.value.message


def test_fields_keep_their_order_and_their_text() -> None:
    form = _read("b=1&a=%C3%A4+b%2B&b=2&empty=&&line=1%0D%0A2&bare")

    assert form == {
        "b": ["1", "2"], "a": ["ä b+"], "empty": [""], "line": ["1\n2"], "bare": [""]
    }  # fmt: skip


@pytest.mark.parametrize("before", [65_533, 65_534, 65_535, 65_536, 131_071])
def test_a_long_text_is_decoded_in_pieces(before: int) -> None:
    text = "x" * before + "ä+%41"

    assert _read(urlencode({"a": text})) == {"a": [text]}


def test_a_form_that_the_application_has_read_is_not_lost() -> None:
    app = Flask("host")
    with app.test_request_context("/", method="POST", data={"a": ["1", "2"]}):
        assert request.form["a"] == "1"
        form = read_form(request._get_current_object(), 100)  # type: ignore[attr-defined]

    assert form == {"a": ["1", "2"]}


@pytest.mark.parametrize(
    ("body", "schema", "document"),
    [
        (
            "action=retry&ids=a&ids=b&expected=2",
            ActionRequestSchema,
            {"action": "retry", "ids": ["a", "b"], "expected": 2},
        ),
        (
            "action=retry&filter.queues=m&filter.queues=&filter.error=&filter.kinds=",
            ActionRequestSchema,
            {"action": "retry", "filter": {"queues": ["m"]}},
        ),
        (
            "action=delete&filter.queues=&filter.error=",
            ActionRequestSchema,
            {"action": "delete"},
        ),
        (
            'action=retry&all=on&dry_run=0&filter={"queues":["m"]}',
            ActionRequestSchema,
            {"action": "retry", "all": True, "dry_run": False,
             "filter": {"queues": ["m"]}},
        ),
        (
            '_body={"action":"pause","queues":["m"]}&_token=x&_back=y&reason=full',
            ChangeQueueRequestSchema,
            {"action": "pause", "queues": ["m"], "reason": "full"},
        ),
        # A change of some fields: an empty one is cleared if it may be null.
        (
            "max_pending=&max_workers=&reason=",
            ChangeQueueRequestSchema,
            {"max_pending": None},
        ),
        (
            "paused=false&paused=true&backoff_enabled=false",
            ChangeQueueRequestSchema,
            {"paused": True, "backoff_enabled": False},
        ),
        (
            "name=n&kind=007&cron_expr=5+4+*+*+*&payload=&queue_name=&max_attempts=3",
            CreateScheduleRequestSchema,
            {"name": "n", "kind": "007", "cron_expr": "5 4 * * *", "max_attempts": 3},
        ),
        (
            'kind=k&payload=[1e3,"x",null]&run_at=2030-01-02T03:04:05&delay=0.5',
            NewJobRequestSchema,
            {"kind": "k", "payload": [1000.0, "x", None],
             "run_at": "2030-01-02T03:04:05Z", "delay": 0.5},
        ),
        (
            "kind=k&run_at=2030-01-02T03:04%2B02:00",
            NewJobRequestSchema,
            {"kind": "k", "run_at": "2030-01-02T03:04+02:00"},
        ),
        ('items=[{"kind":"k"}]', NewJobsRequestSchema, {"items": [{"kind": "k"}]}),
        # The field says which numbers it takes; unknown names are refused by it, too.
        (
            "capacity=many&refill_per_sec=true&odd.name=1",
            RateLimitRequestSchema,
            {"capacity": "many", "refill_per_sec": True, "odd.name": "1"},
        ),
    ],
)  # fmt: skip
def test_the_schema_says_which_json_a_field_stands_for(
    body: str, schema: type[Schema], document: dict[str, object]
) -> None:
    assert document_of(_read(body), schema()) == document


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("a=%FF", ("body", "is not UTF-8")),
        ("a%00=1", ("a\0", "contains a NUL character")),
        ("a=1%002", ("a", "contains a NUL character")),
        ("x" * (MAX_NAME_LENGTH + 1), ("body", "has a field with a long name")),
        ("&" * MAX_FIELDS, ("body", "has more than 1000 fields")),
        ("action=a&action=b", ("action", "is given more than once")),
        ("filter=+", ("filter", "is not JSON: Expecting value at character 1")),
        ("filter={}&filter={}", ("filter", "is given more than once")),
        ("filter=1&filter.queues=a", ("filter", "is given as a whole and in parts")),
        ("_body=[]", ("_body", "must be an object")),
        ('_body={"a":1,"a":2}', ("_body", "an object repeats a key")),
    ],
)  # fmt: skip
def test_a_field_that_stands_for_nothing_is_named(
    body: str, fault: tuple[str, str]
) -> None:
    assert _fault(body) == fault


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "text/plain", "multipart/form-data; boundary=x"],
)
def test_only_the_form_of_browsers_is_read(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        _read("a=1", content_type=content_type)
    with pytest.raises(UnsupportedMediaType):
        _read("a=1", headers={"Content-Encoding": "gzip"})


def test_a_form_is_as_long_as_a_body_at_most() -> None:
    assert _read("a=" + "x" * 98, limit=100)
    with pytest.raises(RequestEntityTooLarge):
        _read("a=" + "x" * 99, limit=100)


_FULL = DEFAULT_MAX_BODY_BYTES
HOSTILE = {
    "many fields": b"a=1&" * (_FULL // 4),
    "many separators": b"&" * _FULL,
    "as many fields as may be": b"&".join([b"ids=" + b"x" * 2000] * 999),
    "one long escaped text": b"action=" + b"%41" * (_FULL // 3 - 3),
    "one long text of line breaks": b"action=" + b"%0D%0A" * (_FULL // 6 - 2),
    "long names of dots": b"&".join([b"filter" + b"." * 250 + b"=1"] * 999),
    "deep objects": b"filter=" + b"[" * (_FULL - 8),
    "wide objects": b"filter=[" + b"{}," * (_FULL // 3 - 4) + b"1]",
    "objects in several fields": b"&".join(
        [b"filter=[" + b"{}," * 60_000 + b"1]", b"_body=[" + b"{}," * 199_999 + b"1]"]
    ),
    "a long number": b"expected=" + b"9" * (_FULL - 10),
    "strange numbers": b"&".join([b"expected=1e" + b"9" * 2000] * 999),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_form_costs_little(case: str) -> None:
    body = HOSTILE[case]
    assert len(body) <= _FULL

    def work() -> None:
        with contextlib.suppress(InvalidInputError):
            document_of(_read(body), ActionRequestSchema())

    began = time.process_time()
    work()
    seconds = time.process_time() - began
    tracemalloc.start()
    work()
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert seconds < MAX_S
    assert memory < MAX_MEMORY
