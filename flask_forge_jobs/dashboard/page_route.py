"""The route of a page as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.errors import Problem
from flask_forge_jobs.api.routes import Route

# Files of ours; no inline script or style, and in nobody's frame.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, kw_only=True)
class PageRoute(Route):
    """The route of a page, and its entry in the navigation.

    ``nav`` is the name there; None leaves it out. Entries stand in ascending ``order``,
    and a gap where its tens change. ``key`` is the letter after ``g`` that goes there.
    ``unread`` shows the page without its content, if the database does not answer.
    ``part_of`` is the path of the entry that a page without one, and outside of its
    path, belongs to. ``noun`` names the content of a page without one, such as "Queue".
    """

    blocks: tuple[str, ...] = ()
    nav: str | None = None
    noun: str = ""
    icon: str = "jobs"
    order: int = 0
    key: str | None = None
    part_of: str | None = None
    unread: Callable[[Api, Problem], Response] | None = None
