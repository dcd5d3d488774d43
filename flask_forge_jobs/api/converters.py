"""What may stand in a path where a route has a placeholder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from werkzeug.routing import BaseConverter, Map

from flask_forge_jobs.api.routes import JOB_PATH, QUEUE_PATH, SCHEDULE_PATH, Route

_PLACEHOLDER = re.compile(r"(?P<folder>.*)<(?P<converter>[a-z_]+):[a-z_]+>")


def add_converters(urls: Map, routes: Sequence[Route]) -> None:
    """Teach a URL map what stands behind ``/v1/jobs/``, ``/cron/`` and ``/queues/``.

    They take anything but the words that are routes there, so that a wrong method on
    ``/v1/jobs/list`` is 405, and not a question for the job ``list``.

    Args:
        urls: The map that the routes will be added to.
        routes: All routes of the blueprint.
    """
    for path in (JOB_PATH, SCHEDULE_PATH, QUEUE_PATH):
        match = _PLACEHOLDER.fullmatch(path)
        if match is None:
            raise ValueError(f"{path} does not end with a placeholder")
        taken = _words(match["folder"], routes)
        urls.converters[match["converter"]] = _all_but(taken)


def _words(folder: str, routes: Iterable[Route]) -> list[str]:
    below = {
        route.path.removeprefix(folder)
        for route in routes
        if route.path.startswith(folder)
    }
    return sorted(word for word in below if "<" not in word)


def _all_but(words: Iterable[str]) -> type[BaseConverter]:
    taken = "|".join(map(re.escape, words))

    class Converter(BaseConverter):
        """One segment of a path that is no route's word."""

        regex = rf"(?!(?:{taken})\Z)[^/]+"

    return Converter
