"""Every place where a request may hold something, from the route table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from flask_forge_jobs.api.addresses import V1_PREFIX
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.schemas.fields import V1Schema
from flask_forge_jobs.api.table import all_routes
from tests.conformance.requests import described, sample

CORPORA = Path(__file__).with_name("corpora")
# The twins below /v1 are the same views; tests/conformance asks them too.
_BY_VIEW = {route.view: route for route in reversed(all_routes(enable_demo=True))}
ROUTES = tuple(reversed(_BY_VIEW.values()))
BODY_ROUTES = tuple(route for route in ROUTES if route.body is not None)
QUERY_ROUTES = tuple(route for route in ROUTES if route.query is not None)
# Whatever changes something, and the reads that the reference does not have.
STRICT_ROUTES = tuple(
    route for route in BODY_ROUTES if route.mutates or isinstance(route.body, V1Schema)
)
# They change something and have nothing to be told.
BARE_ROUTES = tuple(route for route in ROUTES if route.mutates and route.body is None)
# They refuse parameters that they do not know.
EXACT_ROUTES = tuple(
    route
    for route in all_routes(enable_demo=True)
    if route.permission is not None
    and (route.mutates or route.path.startswith(f"{V1_PREFIX}/"))
)
# The reads of the reference, and what anybody may ask.
LENIENT_ROUTES = tuple(
    route for route in all_routes(enable_demo=True) if route not in EXACT_ROUTES
)
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a body, at the top."""

    route: Route
    name: str
    schema: Schema

    def takes(self, value: object) -> bool:
        """Tell whether the description allows a value, as strict JSON."""
        if isinstance(value, float) and value.is_integer() and not self.takes(0.5):
            return False  # for JSON Schema 1.0 is an integer
        return _validator(json.dumps(self.schema)).is_valid(value)

    def body(self, value: object) -> dict[str, object]:
        """Return a good body of the route with this key changed."""
        return {**sample(self.route).body, self.name: value}


@cache
def _validator(schema: str) -> Draft202012Validator:
    components = described()["components"]
    return Draft202012Validator(json.loads(schema) | {"components": components})


def body_schema(route: Route) -> Schema:
    """Return the description of a route's body."""
    for operations in described()["paths"].values():
        operation = operations.get(route.method.lower(), {})
        if operation.get("operationId") == route.endpoint:
            content = operation["requestBody"]["content"]["application/json"]
            return named(content["schema"])
    raise LookupError(route.path)


def named(schema: Schema) -> Schema:
    """Return what a reference refers to, or the schema itself."""
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].rpartition("/")[2]
    found: Schema = described()["components"]["schemas"][name]
    return found


def keys() -> Iterator[Key]:
    """Yield every key of every body."""
    for route in BODY_ROUTES:
        for name, schema in body_schema(route)["properties"].items():
            yield Key(route, name, schema)


def number_keys() -> Iterator[Key]:
    """Yield the keys that take numbers."""
    for key in keys():
        kinds = key.schema.get("type")
        if "integer" in ([kinds] if isinstance(kinds, str) else kinds or []):
            yield key


def parameters(kind: str | None = None) -> Iterator[tuple[Route, str]]:
    """Yield every query parameter, or those of one JSON type."""
    for route in QUERY_ROUTES:
        for operations in described()["paths"].values():
            operation = operations.get(route.method.lower(), {})
            if operation.get("operationId") != route.endpoint:
                continue
            for each in operation["parameters"]:
                if each["in"] == "query" and kind in (None, each["schema"]["type"]):
                    yield route, each["name"]


def lines(name: str) -> list[str]:
    """Return the lines of a corpus."""
    return (CORPORA / name).read_text(encoding="utf-8").splitlines()


def fault(answer: TestResponse) -> tuple[int, str, str | None]:
    """Return status, kind and field of a tagged error."""
    assert answer.headers["Content-Type"] == "application/json"
    document = json.loads(answer.data)
    return answer.status_code, document["kind"], document.get("field")


def label(value: object) -> str:
    """Name a case of a parametrized test."""
    if isinstance(value, Key):
        return f"{value.route.endpoint}.{value.name}"
    return value.endpoint if isinstance(value, Route) else str(value)
