"""The quick way loads what marshmallow loads, and leaves it every fault."""

from __future__ import annotations

import json
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, post_load, validates
from marshmallow.fields import Integer

from flask_forge_jobs.api.loading import _loader, first_fault, loaded
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.schemas.jobs import ListRequestSchema
from flask_forge_jobs.api.schemas.new_jobs import (
    NewJobRequestSchema,
    NewJobsRequestSchema,
)
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.errors import InvalidInputError
from tests.conformance.requests import sample

BODIES = [route for route in all_routes(enable_demo=True) if route.body is not None]


def by_marshmallow(document: object, schema: Schema) -> Any:
    try:
        return schema.load(document)  # type: ignore[arg-type]  # as a client may send it
    except ValidationError as error:
        return list(error.messages)


def by_us(document: object, schema: Schema) -> Any:
    try:
        return loaded(document, schema)
    except InvalidInputError as error:
        return error


@pytest.mark.parametrize("route", BODIES, ids=lambda route: route.endpoint)
def test_bodies_are_loaded_as_by_marshmallow(route: Route) -> None:
    schema = route.body
    assert schema is not None
    body = sample(route).body or {}
    keys = list(body)
    documents: list[object] = [
        body, {}, [], None, {**body, "unknown": 1},
        *({**body, key: None} for key in keys),
        *({**body, key: {"a": []}} for key in keys),
        *({name: body[name] for name in keys if name != key} for key in keys),
    ]  # fmt: skip

    for document in documents:
        expected, actual = by_marshmallow(document, schema), by_us(document, schema)
        if isinstance(actual, InvalidInputError):
            assert isinstance(expected, list), json.dumps(document)
        else:
            assert actual == expected, json.dumps(document)
            assert list(actual) == list(expected)


def test_all_bodies_take_the_quick_way() -> None:
    quick = [
        route.endpoint
        for route in BODIES
        if route.body is not None
        and _loader(route.body)(sample(route).body or {}) is not None
    ]

    assert len(quick) == len(BODIES)


JOB = {"kind": "note", "payload": {"number": 1}}


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        (ListRequestSchema(), {"limit": 50, "offset": 0, "queues": [], "x": None}),
        (
            ListRequestSchema(),
            {"limit": 1, "offset": 0, "filter": {"queues": ["a"], "unknown": 1}},
        ),
        (NewJobsRequestSchema(), {"items": [JOB, {**JOB, "after": ["a", "b"]}]}),
        (NewJobRequestSchema(), {**JOB, "payload": None, "after": []}),
    ],
    ids=["unknown keys", "nested", "array", "null"],
)
def test_what_is_nested_or_ignored_takes_the_quick_way(
    schema: Schema, document: object
) -> None:
    assert _loader(schema)(document) == by_marshmallow(document, schema)


@pytest.mark.parametrize(
    "document",
    [
        {"items": [JOB, {**JOB, "unknown": 1}]},
        {"items": [JOB, None]},
        {"items": [{**JOB, "after": ["a", None]}]},
        {"items": [{**JOB, "after": [1]}]},
        {"items": []},
        {"items": {}},
    ],
    ids=["a key", "no job", "no id", "a number", "too few", "no array"],
)
def test_faults_within_are_those_of_marshmallow(document: object) -> None:
    schema = NewJobsRequestSchema()

    assert _loader(schema)(document) is None
    with pytest.raises(ValidationError) as error:
        schema.load(document)  # type: ignore[arg-type]  # as a client may send it
    expected = first_fault(error.value, schema)
    actual = by_us(document, schema)
    assert (actual.field, actual.message) == (expected.field, expected.message)


def test_methods_of_a_schema_take_part() -> None:
    class Made(Schema):
        number = Integer()

        @post_load
        def make(self, data: dict[str, int], **_: Any) -> list[int]:
            return list(data.values())

    class Checked(Schema):
        number = Integer()

        @validates("number")
        def check(self, value: int, data_key: str) -> None:
            del value, data_key
            raise ValidationError("is never good")

    made: object = loaded({"number": 1}, Made())
    assert made == [1]
    with pytest.raises(InvalidInputError, match="is never good"):
        loaded({"number": 1}, Checked())
