"""What may stand in a path where a route has a placeholder."""

from __future__ import annotations

import re
from collections.abc import Iterable

from werkzeug.routing import BaseConverter, Map

from flask_forge_jobs.api.routes import JOB_PATH, Route

NAME = "forge_job_id"


def add_job_id_converter(urls: Map, routes: Iterable[Route]) -> None:
    """Teach a URL map the placeholder of ``/v1/jobs/<id>``.

    It takes anything but the words that are routes there, so that a wrong method on
    ``/v1/jobs/list`` is 405, and not a question for the job ``list``.

    Args:
        urls: The map that the routes will be added to.
        routes: All routes of the blueprint.
    """
    folder = JOB_PATH.partition("<")[0]
    words = {
        route.path.removeprefix(folder)
        for route in routes
        if route.path.startswith(folder)
    }
    taken = "|".join(re.escape(word) for word in sorted(words) if "<" not in word)

    class JobIdConverter(BaseConverter):
        """One segment of a path that is no route's word."""

        regex = rf"(?!(?:{taken})\Z)[^/]+"

    urls.converters[NAME] = JobIdConverter
