"""The OpenAPI document of a set of routes, with the errors of ``api/errors.py``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from flask_forge_jobs.api.addresses import PLACEHOLDER
from flask_forge_jobs.api.errors import HTTP_KINDS, STATUSES, Problem
from flask_forge_jobs.api.openapi import headers
from flask_forge_jobs.api.openapi.headers import NOT_MODIFIED
from flask_forge_jobs.api.openapi.shapes import OPENAPI_VERSION, Examples, Shapes
from flask_forge_jobs.api.routes import Answer, Route
from flask_forge_jobs.api.schemas import bounds

Document = dict[str, Any]
_SCHEME = "bearer"
# A look-up accepts any text; a request that creates something needs a valid name.
_SEGMENT: Document = {"minLength": 1, "pattern": "^[^/]+$"}
_PLACES: Mapping[str, Document] = {"scope": bounds.QUEUE_NAME}
_DESCRIPTION = (
    "Every GET route answers HEAD too; OPTIONS is 204 with Allow. "
    "Every error is an object whose first key is its kind. "
    "An X-Request-Id of the client is kept if it matches the header's pattern."
)
# Error statuses of every route with a permission.
COMMON = (400, 401, 403, 405, 409, 413, 415, 429, 500, 503)
# Error statuses of every open route.
_OPEN = (400, 405, 429, 500)
_RATE_LIMITED = ("rate_limited", 429)
_EXAMPLES: Document = {
    "field": "limit",
    "msg": "1001 is not within 0 to 1000",
    "retry_after_secs": 1,
}


def document(routes: Iterable[Route]) -> Document:
    """Return the OpenAPI document of the routes, without ``servers``."""
    known = tuple(routes)
    shapes = Shapes()
    paths: dict[str, Document] = {}
    for route in known:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(
            route, shapes
        )
    named = shapes.components() | error_schemas()
    _add_examples(paths, Examples(named))
    statuses = sorted({status for route in known for status in refusals_of(route)})
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "flask-forge-jobs",
            "version": version("flask-forge-jobs"),
            "description": _DESCRIPTION,
        },
        "security": [{_SCHEME: []}],
        "tags": [{"name": tag} for tag in sorted({tag_of(route) for route in known})],
        "paths": paths,
        "components": {
            "schemas": named,
            "headers": headers.components(),
            "responses": {str(each): _error_response(each) for each in statuses},
            "securitySchemes": {_SCHEME: {"type": "http", "scheme": "bearer"}},
        },
    }


def refusals_of(route: Route) -> tuple[int, ...]:
    """Return the error statuses of a route, sorted."""
    common = _OPEN if route.permission is None else COMMON
    answered = {route.status, *route.other_answers}
    return tuple(sorted({*common, *route.errors} - answered))


def summary_of(route: Route) -> str:
    """Return the first paragraph of the view's docstring on one line."""
    text = inspect.getdoc(route.view) or ""
    return " ".join(text.partition("\n\n")[0].split())


def tag_of(route: Route) -> str:
    """Return the tag of a route, by default the module of its view."""
    return route.tag or route.view.__module__.rpartition(".")[2]


def _operation(route: Route, shapes: Shapes) -> Document:
    operation: Document = {
        "operationId": route.endpoint,
        "summary": summary_of(route),
        "tags": [tag_of(route)],
    }
    if route.is_deprecated:
        operation["deprecated"] = True
    if route.permission is None:
        operation["security"] = []
    else:
        operation["x-permission"] = str(route.permission)
    parameters = _path_parameters(route.path)
    if route.query is not None:
        parameters += shapes.query(route.query)
    parameters += headers.parameters(route)
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": shapes.body(route.body)}}
        is_required = not route.is_body_optional
        operation["requestBody"] = {"required": is_required, "content": content}
    operation["responses"] = _responses(route, shapes)
    return operation


def _path_parameters(path: str) -> list[Document]:
    return [
        {
            "in": "path",
            "name": name,
            "required": True,
            "schema": {"type": "string", **_PLACES.get(name, _SEGMENT)},
        }
        for name in PLACEHOLDER.findall(path)
    ]


def _responses(route: Route, shapes: Shapes) -> Document:
    answers: Mapping[int, Answer] = {route.status: route.answer, **route.other_answers}
    responses: Document = {}
    for status, answer in sorted(answers.items()):
        response: Document = {
            "description": HTTPStatus(status).phrase,
            "headers": headers.references(headers.given(route)),
        }
        if answer is not None:
            schema = shapes.answer(answer)
            response["content"] = {route.content_type: {"schema": schema}}
        responses[str(status)] = response
    if headers.is_compared(route):
        responses[str(NOT_MODIFIED)] = {
            "description": HTTPStatus(NOT_MODIFIED).phrase,
            "headers": headers.references(headers.given(route)),
        }
    for status in refusals_of(route):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return responses


def _add_examples(paths: Mapping[str, Document], examples: Examples) -> None:
    for operations in paths.values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if "example" not in parameter:
                    parameter["example"] = examples.of(
                        parameter["schema"], parameter["name"]
                    )
            contents = [operation.get("requestBody", {}).get("content", {})]
            contents += [
                response.get("content", {})
                for response in operation["responses"].values()
            ]
            for content in contents:
                for media in content.values():
                    media["example"] = examples.of(media["schema"])


def kinds_of(status: int) -> list[str]:
    """Return the error kinds of a status, sorted."""
    known = {*STATUSES.values(), _RATE_LIMITED}
    known |= {(kind, code) for code, (kind, _field) in HTTP_KINDS.items()}
    return sorted(kind for kind, code in known if code == status)


def error_schemas() -> Document:
    """Return the schema of each error kind, by name."""
    kinds = {kind for kind, _status in STATUSES.values()} | {_RATE_LIMITED[0]}
    kinds |= {kind for kind, _field in HTTP_KINDS.values()}
    return {_error_name(kind): _error_schema(kind) for kind in sorted(kinds)}


def _error_schema(kind: str) -> Document:
    field = "field" if kind == "validation" else None
    sample = Problem(kind, 0, "", field=field, retry_after_s=1).body()
    properties: Document = {"kind": {"const": kind}}
    for key in list(sample)[1:]:
        is_number = key == "retry_after_secs"
        shape = {"type": "integer", "minimum": 0} if is_number else {"type": "string"}
        properties[key] = {**shape, "examples": [_EXAMPLES[key]]}
    return {
        "type": "object",
        "properties": properties,
        "required": list(sample),
        "additionalProperties": False,
    }


def _error_response(status: int) -> Document:
    names = [_error_name(kind) for kind in kinds_of(status)]
    references = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    shape = references[0] if len(references) == 1 else {"oneOf": references}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers.of_refusal(status),
        "content": {"application/json": {"schema": shape}},
    }


def _error_name(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.split("_")) + "Error"
