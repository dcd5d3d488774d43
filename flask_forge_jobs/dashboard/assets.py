"""The static files of the pages: style sheet, script and icon.

Style sheet and script are one file each for the browser, and small files by subject
here. They are joined in the order below when they are first read, without comment
lines, indentation and other white space of the sheet; a file that is not named stands
at the end.

An address carries a fingerprint of the file, so browsers keep the file for a year. A
request with another fingerprint, from a page of another version, gets the file too, but
may not keep it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePath

from flask import Response, request
from werkzeug.exceptions import NotFound

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Route

FINGERPRINT_LENGTH = 16
KEPT = "public, max-age=31536000, immutable"
NOT_KEPT = "no-cache"
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
    "dashboard.js": ("scripts", ("core",), ("start",)),
}
_COMMENT = re.compile(r"\s*(?://.*|/\*.*\*/)")
# A line of icons.css, and the rule that it stands for.
_ICON = re.compile(r"@icon ([a-z-]+) (.+);")
_ICON_RULE = (
    ".i-{0}{{--i:url(\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' "
    "viewBox='0 0 16 16' fill='none' stroke='%23000' stroke-width='1.5' "
    "stroke-linecap='round' stroke-linejoin='round'%3E"
    "%3Cpath d='{1}'/%3E%3C/svg%3E\")}}"
)


# White space that a style sheet does not need; strings stay as they are.
_SPARE = re.compile(r"""("[^"]*")|\s*([{},])\s*|;\s*(?=})|([:;])\s+""")


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
    for name, (subfolder, first, last) in _JOINED.items():
        bodies[name] = _joined(folder / subfolder, first, last)
    return {name: _read(name, body) for name, body in bodies.items()}


def _joined(folder: Traversable, first: Sequence[str], last: Sequence[str]) -> bytes:
    texts = {
        each.name.partition(".")[0]: each.read_text("utf-8")
        for each in folder.iterdir()
    }
    others = sorted(texts.keys() - {*first, *last})
    lines = [
        line.strip()
        for name in (*first, *others, *last)
        for line in texts[name].splitlines()
        if line.strip() and not _COMMENT.fullmatch(line)
    ]
    text = "\n".join(map(_with_icon, lines)) + "\n"
    return (packed(text) if folder.name == "styles" else text).encode()


def packed(sheet: str) -> str:
    """Return a style sheet without the white space that it does not need."""
    return _SPARE.sub(lambda match: "".join(match.groups("")), sheet)


def _with_icon(line: str) -> str:
    match = _ICON.fullmatch(line)
    return line if match is None else _ICON_RULE.format(*match.groups())


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
