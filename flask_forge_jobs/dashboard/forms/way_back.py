"""Where a browser goes after a form: the page that it came from."""

from __future__ import annotations

import re
from urllib.parse import unquote

from flask_forge_jobs.api.forms import BACK_FIELD, Form, first

MAX_LENGTH = 2000
# Below the mount point: no scheme, no host, no empty segment, no fragment.
_WAY = re.compile(r"(?!/)(?P<path>[\w.~!$&'()*+,;=@%/-]*)(?:\?[!-\[\]-~]*)?", re.ASCII)


def way_back(text: str) -> str:
    """Return an address below the mount point, relative to it; else an empty text.

    The mount point itself is the empty text, so a strange address leads there.
    """
    match = _WAY.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None or "#" in text:
        return ""
    # Browsers read an escaped dot in a segment as a dot, some a backslash as a slash.
    path = unquote(match["path"])
    is_odd = "//" in path or "\\" in path or not path.isprintable()
    return "" if is_odd or {".", ".."} & set(path.split("/")) else text


def way_back_of(form: Form | None) -> str:
    """Return the way back that a form states."""
    return way_back(first(form or {}, BACK_FIELD))
