"""The static files of the pages: style sheet and icon.

An address carries a fingerprint of the file, so browsers keep the file for a year. A
request with another fingerprint, from a page of another version, gets the file too, but
may not keep it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import PurePath

from flask import Response, request
from werkzeug.exceptions import NotFound

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Route

FINGERPRINT_LENGTH = 16
KEPT = "public, max-age=31536000, immutable"
NOT_KEPT = "no-cache"
_MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    media_type: str
    fingerprint: str


@cache
def assets() -> dict[str, Asset]:
    """Return every file by its name; they are read once."""
    folder = resources.files("flask_forge_jobs.dashboard") / "static"
    return {each.name: _read(each.name, each.read_bytes()) for each in folder.iterdir()}


def _read(name: str, body: bytes) -> Asset:
    media_type = _MEDIA_TYPES[PurePath(name).suffix]
    return Asset(body, media_type, sha256(body).hexdigest()[:FINGERPRINT_LENGTH])


def address_of(name: str) -> str:
    """Return the address of a file, relative to the mount point.

    Raises:
        KeyError: There is no such file.
    """
    return f"static/{name}?v={assets()[name].fingerprint}"


def static_file(_api: Api, name: str) -> Response:
    """Return a file of the pages."""
    asset = assets().get(name)
    if asset is None:
        raise NotFound
    response = Response(asset.body, content_type=asset.media_type)
    is_current = request.args.get("v") == asset.fingerprint
    response.headers["Cache-Control"] = KEPT if is_current else NOT_KEPT
    return response


ROUTES = (
    Route(
        method="GET", path="/static/<name>", endpoint="static_file", view=static_file,
        permission=None,
    ),
)  # fmt: skip
