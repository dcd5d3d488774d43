"""The static files of the pages: style sheet, script and icon.

Style sheet and script are one file each for the browser, and small files by subject
here; those that are not named below stand in the middle.

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
from flask_forge_jobs.dashboard.icons import Icons
from flask_forge_jobs.dashboard.sources import joined

FINGERPRINT_LENGTH = 16
KEPT = "public, max-age=31536000, immutable"
NOT_KEPT = "no-cache"
ICONS = "icons.svg"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_JOINED = {
    "dashboard.css": (
        "styles",
        ("tokens", "base", "icons", "frame", "controls", "states", "parts", "tables"),
        ("narrow", "modes"),
    ),
    "dashboard.js": ("scripts", ("core",), ("refresh", "forms", "keys", "start")),
}


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
    bodies = {
        each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()
    }
    icons = Icons(bodies.pop("icons.txt").decode())
    bodies[ICONS] = icons.sheet
    made = {name: _read(name, body) for name, body in bodies.items()}
    for name, (subfolder, first, last) in _JOINED.items():
        text = joined(folder / subfolder, PurePath(name).suffix, first, last)
        text = icons.placed(text, _beside(ICONS, made[ICONS]))
        made[name] = _read(name, text.encode())
    return made


def _read(name: str, body: bytes) -> Asset:
    media_type = _MEDIA_TYPES[PurePath(name).suffix]
    return Asset(body, media_type, sha256(body).hexdigest()[:FINGERPRINT_LENGTH])


def _beside(name: str, asset: Asset) -> str:
    return f"{name}?v={asset.fingerprint}"


def address_of(name: str) -> str:
    """Return the address of a file, relative to the mount point.

    Raises:
        KeyError: There is no such file.
    """
    return f"static/{_beside(name, assets()[name])}"


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
