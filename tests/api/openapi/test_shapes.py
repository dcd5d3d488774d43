from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from marshmallow import Schema
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.openapi.shapes import VALUES, Examples, Shapes
from flask_forge_jobs.api.schemas.fields import (
    AnyJson,
    Digits,
    Flag,
    Instant,
    Text,
    V1Schema,
    WholeNumber,
    WireSchema,
)


class Thing(WireSchema):
    name = Text(allow_none=True, metadata={"maxLength": 3})
    value = AnyJson()


class Strict(V1Schema):
    count = WholeNumber(required=True, is_signed=False)
    at = Instant(load_default=None)
    choice = Text(load_default=None, metadata={"enum": ["a", "b"]})
    is_on = Flag()
    things = List(Nested(Thing))


class ThingsQuery(WireSchema):
    limit = Digits(load_default=None)
    names = List(Text(), load_default=())


def resolved(schema: Schema) -> dict[str, Any]:
    shapes = Shapes()
    reference = shapes.body(schema)["$ref"]
    found: dict[str, Any] = shapes.components()[reference.rpartition("/")[2]]
    return found


def test_types_widths_formats_and_null_are_exact() -> None:
    properties = resolved(Strict())["properties"]

    assert properties["count"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 2**32 - 1,
    }
    assert properties["at"]["type"] == ["string", "null"]
    assert properties["at"]["format"] == "date-time"
    assert properties["choice"]["enum"] == ["a", "b", None]
    assert properties["is_on"] == {"type": "boolean"}


def test_required_keys_of_a_request_are_those_without_a_default() -> None:
    assert resolved(Strict())["required"] == ["count"]


def test_unknown_keys_are_refused_under_v1_and_ignored_elsewhere() -> None:
    assert resolved(Strict())["additionalProperties"] is False
    assert resolved(Thing())["additionalProperties"] == {
        "$ref": "#/components/schemas/AnyJson"
    }


def test_an_answer_has_every_key_no_other_and_no_bound_of_a_request() -> None:
    shapes = Shapes()
    shapes.answer(Strict())
    strict = shapes.components()["Strict"]

    assert strict["required"] == list(strict["properties"])
    assert strict["additionalProperties"] is False
    assert strict["properties"]["count"] == {"type": "integer"}
    assert strict["properties"]["things"]["items"] == {
        "$ref": "#/components/schemas/Thing"
    }


def test_one_schema_may_be_a_request_and_an_answer() -> None:
    shapes = Shapes()
    shapes.body(Thing())
    shapes.answer(List(Nested(Thing)))

    assert {"Thing", "ThingInput"} <= set(shapes.components())


def test_null_is_no_value_of_a_query() -> None:
    limit, names = Shapes().query(ThingsQuery())

    assert limit["schema"] == {"type": "integer", "minimum": 0, "maximum": 10**9 - 1}
    assert (names["explode"], names["style"]) == (True, "form")
    assert names["schema"]["type"] == "array"


def test_any_json_is_what_the_gate_lets_in() -> None:
    named = Shapes().components()
    checked = Draft202012Validator(
        {"$ref": "#/components/schemas/AnyJson", "components": {"schemas": named}}
    )

    fine: tuple[Any, ...] = (None, True, 1.5, "é", [[], {}], {"a": {"b": ["c"]}})
    for good in fine:
        assert checked.is_valid(good)
    for bad in ("\x00", ["a\x00"], {"a\x00": 1}, {"a": {"b": "\x00"}}):
        assert not checked.is_valid(bad)


NAMED: dict[str, dict[str, Any]] = {
    "Row": {"type": "object", "properties": {"kind": {"type": "string"}}}
}


@pytest.mark.parametrize(
    ("schema", "key", "value"),
    [
        ({"type": "string"}, "kind", VALUES["kind"]),
        ({"type": "string"}, "reason", "text"),
        ({"type": ["string"], "format": "date-time"}, "at", "2026-09-16T09:00:00Z"),
        ({"type": "integer", "minimum": 1}, "days", 1),
        ({"type": "integer"}, "kind", 0),
        ({"type": "string", "enum": ["dead", "done"]}, "status", "dead"),
        ({"const": "conflict"}, "kind", "conflict"),
        ({"$ref": "#/components/schemas/Row"}, "", {"kind": VALUES["kind"]}),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "", True),
        ({"type": "array", "items": {"type": "number"}}, "", [0.5]),
        ({}, "payload", VALUES["payload"]),
        ({}, "", {}),
    ],
)  # fmt: skip
def test_an_example_fits_its_schema(
    schema: dict[str, Any], key: str, value: object
) -> None:
    assert Examples(NAMED).of(schema, key) == value
