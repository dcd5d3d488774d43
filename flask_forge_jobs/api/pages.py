"""The header that leads from one page of a listing to the next."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from flask import Request


def next_link(request: Request, cursor: str) -> str:
    """Return the value of ``Link`` for the page after this one.

    The target is relative to the host, so that it holds behind any proxy that keeps
    the path.

    Args:
        request: The request for this page.
        cursor: Where the next page begins.
    """
    kept = [
        (key, value) for key, value in request.args.items(multi=True) if key != "cursor"
    ]
    path = quote(f"{request.script_root}{request.path}")
    return f'<{path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'
