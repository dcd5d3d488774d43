"""Examples generated from the schemas, with the same value for a key everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_forge_jobs.api.schemas.fields import ANY_JSON_REF

JsonSchema = dict[str, Any]

# Other keys get a value of their type.
VALUES: Mapping[str, object] = {
    "id": "01K5A4D3E4F5G6H7J8K9M0N1P2",
    "ids": ["01K5A4D3E4F5G6H7J8K9M0N1P2"],
    "job_id": "01K5A4D3E4F5G6H7J8K9M0N1P2",
    "action": "reschedule",
    "queue_name": "mail",
    "queue": "mail",
    "queues": ["mail"],
    "name": "mail",
    "kind": "send_receipt",
    "kinds": ["send_receipt"],
    "status": "failed",
    "statuses": ["failed"],
    "dedupe_key": "receipt:4711",
    "from": "2026-09-16T09:00:00Z",
    "to": "2026-09-16T10:00:00Z",
    "bucket_secs": 60,
    "payload": {"order_id": 4711},
    "cron_expr": "*/10 * * * *",
    "timezone": "Europe/Berlin",
    "description": "Every 10 minutes",
    "expr": "*/10 * * * *",
    "limit": 50,
    "offset": 0,
    "n": 8,
    "base_seconds": 60,
    "max_seconds": 1800,
    "max_attempts": 5,
}
_INSTANT = "2026-09-16T09:00:00Z"
_BY_TYPE: Mapping[str, object] = {
    "string": "text", "boolean": True, "number": 0.5, "null": None,
}  # fmt: skip


class Examples:
    """Generates examples; ``named`` is the document's ``components/schemas``."""

    def __init__(self, named: Mapping[str, JsonSchema]) -> None:
        self._named = named

    def of(self, schema: JsonSchema, key: str = "") -> object:
        """Return a valid value of a schema under a key."""
        if schema.get("$ref") == ANY_JSON_REF or not schema:
            return VALUES.get(key, {})
        if "$ref" in schema:
            return self.of(self._named[schema["$ref"].rpartition("/")[2]], key)
        for members in ("anyOf", "oneOf"):
            if members in schema:
                return self.of(schema[members][0], key)
        for choices in ("examples", "enum"):
            if choices in schema and VALUES.get(key) not in schema.get("enum", ()):
                return schema[choices][0]
        if "const" in schema:
            return schema["const"]
        return self._by_type(schema, key)

    def _by_type(self, schema: JsonSchema, key: str) -> object:
        kind = schema["type"]
        kind = kind if isinstance(kind, str) else kind[0]
        if kind == "object":
            properties = schema.get("properties", {})
            return {
                name: self.of(each, name)
                for name, each in properties.items()
                # Omit keys that exclude another key of the example.
                if not properties.keys() & set(each.get("x-excludes", ()))
            }
        if kind == "array":
            found = VALUES.get(key)
            return found if isinstance(found, list) else [self.of(schema["items"], key)]
        if schema.get("format") == "date-time":
            return VALUES.get(key, _INSTANT)
        if isinstance(VALUES.get(key), int if kind == "integer" else str):
            return VALUES[key]
        if kind == "integer":
            return max(schema.get("minimum", 0), 0)
        return _BY_TYPE[kind]
