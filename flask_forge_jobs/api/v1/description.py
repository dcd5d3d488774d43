"""The OpenAPI document."""

from __future__ import annotations

from flask import Response, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import encode, encoded_response
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas.fields import AnyJson
from flask_forge_jobs.auth.permissions import Permission

PATH = "/v1/openapi.json"


def openapi(api: Api) -> Response:
    """Return the OpenAPI 3.1 document of every route."""
    mount_point = f"{request.script_root}{request.path}".removesuffix(PATH)

    def write(server: dict[str, str]) -> bytes:
        return encode(api.description | {"servers": [server]})

    (body,) = api.composer.compose([{"url": mount_point or "/"}], write)
    return encoded_response(body)


ROUTES = (
    Route(
        view=openapi, permission=Permission.READ, reach=Reach.VIEW,
        answer=AnyJson(metadata={"type": "object"}),
    ),
)  # fmt: skip
