"""marshmallow schemas to JSON Schema, for requests and for answers, with examples.

A request's schema says what its fields accept: types, widths, patterns, and the bounds
in their ``metadata``. An answer holds every declared key; the bounds of a request do
not apply to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema
from marshmallow.fields import Field

from flask_forge_jobs.api.schemas.fields import (
    ANY_JSON_REF,
    IS_ALIAS,
    WITHOUT_NUL,
    AnyJson,
    StrictField,
)

OPENAPI_VERSION = "3.1.0"
JsonSchema = dict[str, Any]
_REQUEST_WORDS = ("Filter", "Query", "Request")
_ANY_JSON_NAME = ANY_JSON_REF.rpartition("/")[2]
_ANY_JSON: JsonSchema = {
    "description": "Any JSON without NUL characters, at most 64 levels deep.",
    "anyOf": [
        {"type": ["null", "boolean", "number"]},
        {"type": "string", "pattern": WITHOUT_NUL},
        {"type": "array", "items": {"$ref": ANY_JSON_REF}},
        {
            "type": "object",
            "propertyNames": {"pattern": WITHOUT_NUL},
            "additionalProperties": {"$ref": ANY_JSON_REF},
        },
    ],
}

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
    "ending": "dead",
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
    "batch": "01K5A4D3E4F5G6H7J8K9M0N1P2",
    "after": [],
    "on_parent_dead": "cancel",
}
_INSTANT = "2026-09-16T09:00:00Z"
_BY_TYPE: Mapping[str, object] = {
    "string": "text", "boolean": True, "number": 0.5, "null": None,
}  # fmt: skip


class RequestConverter(OpenAPIConverter):
    """The JSON Schema of requests."""

    def field2type_and_format(self, field: Field[Any], **kwargs: Any) -> JsonSchema:
        """Use the shape of our own fields."""
        if isinstance(field, StrictField):
            return dict(field.shape)
        return dict(super().field2type_and_format(field, **kwargs))

    def field2nullable(self, field: Field[Any], ret: JsonSchema) -> JsonSchema:
        """Add null to the type and to the choices."""
        if isinstance(field, AnyJson):
            return {}
        added: JsonSchema = super().field2nullable(field, ret=ret)
        if added and "enum" in ret:
            added["enum"] = [*ret["enum"], None]
        return added

    def fields2jsonschema(
        self, fields: Mapping[str, Field[Any]], **kwargs: Any
    ) -> JsonSchema:
        """Omit second names of the same field."""
        aliases = _aliases(fields)
        named = {name: fields[name] for name in fields if name not in aliases}
        return dict(super().fields2jsonschema(named, **kwargs))

    def schema2jsonschema(self, schema: type[Schema] | Schema) -> JsonSchema:
        """Describe ignored unknown keys by the values that the JSON parser accepts."""
        described: JsonSchema = super().schema2jsonschema(schema)
        if "additionalProperties" not in described:
            described["propertyNames"] = {"pattern": WITHOUT_NUL}
            described["additionalProperties"] = {"$ref": ANY_JSON_REF}
        return described


def _aliases(fields: Mapping[str, Field[Any]]) -> set[str]:
    return {name for name, field in fields.items() if IS_ALIAS in field.metadata}


class AnswerConverter(OpenAPIConverter):
    """The JSON Schema of answers: every key, in order, and no other."""

    def field2type_and_format(self, field: Field[Any], **kwargs: Any) -> JsonSchema:
        """Keep type and format, without the bounds of requests."""
        if isinstance(field, AnyJson):
            return {}
        if isinstance(field, StrictField):
            kept = ("type", "format")
            return {key: field.shape[key] for key in kept if key in field.shape}
        return dict(super().field2type_and_format(field, **kwargs))

    def fields2jsonschema(
        self, fields: Mapping[str, Field[Any]], **kwargs: Any
    ) -> JsonSchema:
        """Require every key."""
        described: JsonSchema = super().fields2jsonschema(fields, **kwargs)
        described["required"] = list(described["properties"])
        described["additionalProperties"] = False
        return described


class Shapes:
    """Collects named schemas and returns references to them."""

    def __init__(self) -> None:
        self._requests = _Side(RequestConverter, _request_name)
        self._answers = _Side(AnswerConverter, _name)

    def body(self, schema: Schema) -> JsonSchema:
        """Return a reference to the schema of a request body."""
        return dict(self._requests.converter.resolve_nested_schema(schema))

    def query(self, schema: Schema) -> list[JsonSchema]:
        """Return the parameters of a query, which cannot be null."""
        aliases = _aliases(schema.fields)
        parameters: list[JsonSchema] = [
            parameter
            for parameter in self._requests.converter.schema2parameters(
                schema, location="query"
            )
            if parameter["name"] not in aliases
        ]
        for parameter in parameters:
            _drop_null(parameter["schema"])
        return parameters

    def answer(self, shape: Schema | Field[Any]) -> JsonSchema:
        """Return the schema of an answer."""
        if isinstance(shape, Schema):
            return dict(self._answers.converter.resolve_nested_schema(shape))
        return dict(self._answers.converter.field2property(shape))

    def components(self) -> JsonSchema:
        """Return all named schemas so far, sorted by name."""
        requests, answers = self._requests.schemas, self._answers.schemas
        twice = requests.keys() & answers.keys()
        if twice:
            raise ValueError(f"both requests and answers are named {', '.join(twice)}")
        named = requests | answers | {_ANY_JSON_NAME: _ANY_JSON}
        return {name: named[name] for name in sorted(named)}


class _Side:
    """The named schemas of one direction."""

    def __init__(
        self, converter: type[OpenAPIConverter], resolver: Callable[[Any], str]
    ) -> None:
        class Plugin(MarshmallowPlugin):
            Converter = converter

        plugin = Plugin(resolver)
        self._spec = APISpec("", "", OPENAPI_VERSION, plugins=[plugin])
        self.converter: Any = plugin.converter  # set by APISpec

    @property
    def schemas(self) -> JsonSchema:
        return dict(self._spec.components.schemas)


def _name(schema: Schema | type[Schema]) -> str:
    kind = schema if isinstance(schema, type) else type(schema)
    return kind.__name__.removesuffix("Schema")


def _request_name(schema: Schema | type[Schema]) -> str:
    # A schema may serve requests and answers, with different rules.
    name = _name(schema)
    return name if name.endswith(_REQUEST_WORDS) else f"{name}Input"


def _drop_null(schema: JsonSchema) -> None:
    kinds = schema.get("type")
    if isinstance(kinds, list):
        (schema["type"],) = (kind for kind in kinds if kind != "null")
    if "enum" in schema:
        schema["enum"] = [choice for choice in schema["enum"] if choice is not None]
    if schema.get("default", ...) in (None, ()):
        del schema["default"]


class Examples:
    """Generates examples, with the same value for a key everywhere.

    ``named`` is the document's ``components/schemas``.
    """

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
            items = VALUES.get(key)
            return items if isinstance(items, list) else [self.of(schema["items"], key)]
        if schema.get("format") == "date-time":
            return VALUES.get(key, _INSTANT)
        if isinstance(VALUES.get(key), int if kind == "integer" else str):
            return VALUES[key]
        if kind == "integer":
            return max(schema.get("minimum", 0), 0)
        return _BY_TYPE[kind]
