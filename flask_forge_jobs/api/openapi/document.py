"""The OpenAPI document of a set of routes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from flask_forge_jobs.api.openapi import headers
from flask_forge_jobs.api.openapi.examples import Examples
from flask_forge_jobs.api.openapi.headers import NOT_MODIFIED
from flask_forge_jobs.api.openapi.refusals import COMMON, OPEN, responses, schemas
from flask_forge_jobs.api.openapi.shapes import OPENAPI_VERSION, Shapes
from flask_forge_jobs.api.routes import Answer, Route
from flask_forge_jobs.api.schemas import bounds

Document = dict[str, Any]
PLACEHOLDER = re.compile(r"<(?:[a-z_]+:)?(?P<name>[a-z_]+)>")
_SCHEME = "bearer"
# A look-up accepts any text; a request that creates something needs a valid name.
_SEGMENT: Document = {"minLength": 1, "pattern": "^[^/]+$"}
_PLACES: Mapping[str, Document] = {"scope": bounds.QUEUE_NAME}
_DESCRIPTION = (
    "Every GET route answers HEAD too; OPTIONS is 204 with Allow. "
    "Every error is an object whose first key is its kind. "
    "An X-Request-Id of the client is kept if it matches the header's pattern."
)


def document(routes: Iterable[Route]) -> Document:
    """Return the OpenAPI document of the routes, without ``servers``."""
    known = tuple(routes)
    shapes = Shapes()
    paths: dict[str, Document] = {}
    for route in known:
        path = PLACEHOLDER.sub(r"{\g<name>}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, shapes)
    named = shapes.components() | schemas()
    _add_examples(paths, Examples(named))
    statuses = {status for route in known for status in refusals_of(route)}
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
            "responses": responses(statuses),
            "securitySchemes": {_SCHEME: {"type": "http", "scheme": "bearer"}},
        },
    }


def refusals_of(route: Route) -> tuple[int, ...]:
    """Return the error statuses of a route, sorted."""
    common = OPEN if route.permission is None else COMMON
    answered = {route.status, *route.other_answers}
    return tuple(sorted({*common, *route.errors} - answered))


def summary_of(route: Route) -> str:
    """Return the first paragraph of the view's docstring on one line."""
    text = inspect.getdoc(route.view) or ""
    return " ".join(text.partition("\n\n")[0].split())


def tag_of(route: Route) -> str:
    """Return the tag of a route, which is the module of its view."""
    return route.view.__module__.rpartition(".")[2]


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
    found: Document = {}
    for status, answer in sorted(answers.items()):
        response: Document = {
            "description": HTTPStatus(status).phrase,
            "headers": headers.references(headers.given(route)),
        }
        if answer is not None:
            schema = shapes.answer(answer)
            response["content"] = {route.content_type: {"schema": schema}}
        found[str(status)] = response
    if headers.is_compared(route):
        found[str(NOT_MODIFIED)] = {
            "description": HTTPStatus(NOT_MODIFIED).phrase,
            "headers": headers.references(headers.given(route)),
        }
    for status in refusals_of(route):
        found[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return found


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
