"""The bounds that the description shows are those that the checks hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from marshmallow import Schema
from marshmallow.fields import Field, List, Nested

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import Array, StrictField
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_kind, check_queue_name

NAMES = (
    "mail", "a", "é", "mail 2", " mail", "mail ", "\u3000mail", "a,b", "a/b", "a?b",
    "a#b", "a%b", "a\nb", "a\x00b", "a\x85b", "a\u2028b", "", " ", "x" * 128, "x" * 129,
    ".", "..", "a..b", ".a", "a\u200bb", "a\u202eb", "\ufeffa",
)  # fmt: skip


def shown(metadata: bounds.Metadata, value: str) -> bool:
    fits = metadata["minLength"] <= len(value) <= metadata["maxLength"]
    return fits and re.search(metadata["pattern"], value) is not None


@pytest.mark.parametrize("name", NAMES)
def test_names_of_queues_and_kinds(name: str) -> None:
    for check, metadata in (
        (check_queue_name, bounds.QUEUE_NAME),
        (check_kind, bounds.KIND),
    ):
        try:
            check(name)
            accepted = True
        except InvalidInputError:
            accepted = False
        assert shown(metadata, name) is accepted, check


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True), ("  ", True), ("ab", True), (" ab ", True), ("a b", True),
        ("a", False), (" a ", False), ("x" * 256, True), ("x" * 257, False),
        ("a\x00b", False),
    ],
)  # fmt: skip
def test_payload_search(text: str, *, fits: bool) -> None:
    found = re.search(bounds.SEARCH["pattern"], text)

    assert (found is not None) is fits


def test_blank_in_the_pattern_is_what_is_trimmed() -> None:
    """ECMA-262's white space, which JSON Schema means, is not Python's."""
    pattern = re.compile(bounds.SEARCH["pattern"])

    for character in map(chr, range(1, 0x3100)):
        assert (pattern.search(f"a{character}") is not None) is not character.isspace()
        assert (pattern.search(character) is not None) is character.isspace()


def test_numbers_and_lengths() -> None:
    assert bounds.whole(1, 2) == {"minimum": 1, "maximum": 2}
    assert bounds.text(1, 2) == {"minLength": 1, "maxLength": 2}
    assert bounds.items(2) == {"minItems": 0, "maxItems": 2}


def request_schemas() -> dict[str, Schema]:
    """Return the shape of every body and query, by name."""
    found = {
        type(schema).__name__: schema
        for route in all_routes(enable_demo=True)
        for schema in (route.body, route.v1_body, route.query)
        if schema is not None
    }
    assert {
        "NewJobsRequestSchema",
        "ListRequestSchema",
        "EventsQuerySchema",
    } <= found.keys()
    return found


def fields_of(schema: Schema) -> Iterator[Field[object]]:
    """Yield every field of a schema, those of its items and nested objects too."""
    below = list(schema.fields.values())
    while below:
        field = below.pop()
        yield field
        if isinstance(field, List):
            below.append(field.inner)
        elif isinstance(field, Nested):
            below += field.schema.fields.values()


@pytest.mark.parametrize("schema", request_schemas().values(), ids=type)
def test_every_list_of_a_request_is_bounded(schema: Schema) -> None:
    """Anything but our own fields may look at a million items before it counts."""
    for field in fields_of(schema):
        assert isinstance(field, Array | Nested | StrictField), field.name
        if isinstance(field, Array):
            assert 0 < field.metadata["maxItems"] <= 10_000, field.name
