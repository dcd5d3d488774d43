"""The tagged errors as JSON Schema, from the tables of api/errors.py."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask_forge_jobs.api.errors import HTTP_KINDS, STATUSES, Problem
from flask_forge_jobs.api.openapi.headers import of_refusal

JsonSchema = dict[str, Any]
# Error statuses of every route with a permission.
COMMON = (400, 401, 403, 405, 409, 413, 415, 429, 500, 503)
# Error statuses of every open route.
OPEN = (400, 405, 429, 500)
_RATE_LIMITED = ("rate_limited", 429)
_EXAMPLES: JsonSchema = {
    "field": "limit",
    "msg": "1001 is not within 0 to 1000",
    "retry_after_secs": 1,
}


def kinds_of(status: int) -> list[str]:
    """Return the error kinds of a status, sorted."""
    known = {*STATUSES.values(), _RATE_LIMITED}
    known |= {(kind, code) for code, (kind, _field) in HTTP_KINDS.items()}
    return sorted(kind for kind, code in known if code == status)


def schemas() -> JsonSchema:
    """Return the schema of each error kind, by name."""
    kinds = {kind for kind, _status in STATUSES.values()} | {_RATE_LIMITED[0]}
    kinds |= {kind for kind, _field in HTTP_KINDS.values()}
    return {_name(kind): _schema(kind) for kind in sorted(kinds)}


def responses(statuses: set[int]) -> JsonSchema:
    """Return the response object of each status, by its name in a reference."""
    return {str(status): _response(status) for status in sorted(statuses)}


def _schema(kind: str) -> JsonSchema:
    field = "field" if kind == "validation" else None
    sample = Problem(kind, 0, "", field=field, retry_after_s=1).body()
    properties: JsonSchema = {"kind": {"const": kind}}
    for key in list(sample)[1:]:
        is_number = key == "retry_after_secs"
        properties[key] = {"type": "integer", "minimum": 0} if is_number else {}
        properties[key].setdefault("type", "string")
        properties[key]["examples"] = [_EXAMPLES[key]]
    return {
        "type": "object",
        "properties": properties,
        "required": list(sample),
        "additionalProperties": False,
    }


def _response(status: int) -> JsonSchema:
    references = [
        {"$ref": f"#/components/schemas/{_name(kind)}"} for kind in kinds_of(status)
    ]
    shape = references[0] if len(references) == 1 else {"oneOf": references}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": of_refusal(status),
        "content": {"application/json": {"schema": shape}},
    }


def _name(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.split("_")) + "Error"
