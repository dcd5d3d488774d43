from __future__ import annotations

from typing import Any

import pytest

from flask_forge_jobs.api.openapi.examples import VALUES, Examples

NAMED: dict[str, dict[str, Any]] = {
    "Row": {"type": "object", "properties": {"kind": {"type": "string"}}},
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
