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
# A line of icons.css: the name of an icon, and its path. All icons are one picture in a
# row, which is much smaller than a picture each.
_ICON = re.compile(r"@(icon|shape) ([a-z-]+) (.+);")
_PICTURE = (
    ":root{{--icons:url(\"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' "
    "viewBox='0 0 {width} 16' fill='none' stroke='red' stroke-width='1.5' "
    "stroke-linecap='round' stroke-linejoin='round'>{paths}</svg>\");--last:{last}}}"
)
_PATHS = {
    "icon": "<path transform='translate({x})' d='{path}'/>",
    "shape": "<path transform='translate({x})' fill='red' stroke='none' d='{path}'/>",
}
_ICON_WIDTH = 16
_TRAILING = re.compile(r"(\.\d*?)0+(?!\d)")

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
    text = "\n".join(_with_icons(lines)) + "\n"
    return (packed(text) if folder.name == "styles" else text).encode()


def packed(sheet: str) -> str:
    """Return a style sheet without the white space that it does not need."""
    return _SPARE.sub(lambda match: "".join(match.groups("")), sheet)


def _with_icons(lines: Sequence[str]) -> list[str]:
    """Return lines with a rule for each icon, and the picture of them all."""
    icons = [match for line in lines if (match := _ICON.fullmatch(line))]
    if not icons:
        return list(lines)
    places = {path: number for number, path in enumerate({i[3]: 0 for i in icons})}
    kinds = {icon[3]: icon[1] for icon in icons}
    paths = "".join(
        _PATHS[kinds[path]].format(
            x=_ICON_WIDTH * place, path=_TRAILING.sub(r"\1", path)
        )
        for path, place in places.items()
    )
    width, last = _ICON_WIDTH * len(places), len(places) - 1
    rules = [f".i-{icon[2]}{{--n:{places[icon[3]]}}}" for icon in icons]
    others = [line for line in lines if not _ICON.fullmatch(line)]
    return [_PICTURE.format(width=width, paths=paths, last=last), *rules, *others]


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
