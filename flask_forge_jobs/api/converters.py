"""URL converters for job ids and for names of schedules and queues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from werkzeug.routing import BaseConverter, Map

from flask_forge_jobs.api.routes import JOB_PATH, QUEUE_PATH, SCHEDULE_PATH, Route

_PLACEHOLDER = re.compile(r"(?P<folder>.*)<(?P<converter>[a-z_]+):[a-z_]+>")


def add_converters(urls: Map, routes: Sequence[Route]) -> None:
    """Register the converters of ``/v1/jobs/``, ``/v1/cron/`` and ``/v1/queues/``.

    They match anything but the fixed words below these paths, so that a wrong method on
    ``/v1/jobs/list`` is 405 and not a request for the job ``list``.
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
        """One path segment that is not a fixed word of a route."""

        regex = rf"(?!(?:{taken})\Z)[^/]+"

    return Converter
