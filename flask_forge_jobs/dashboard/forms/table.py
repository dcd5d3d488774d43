"""The routes of forms: one for each change of the API below ``/v1``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from flask_forge_jobs.api.routes import V1_PREFIX, Route
from flask_forge_jobs.dashboard.page import PAGE_POLICY


def form_routes(routes: Iterable[Route]) -> Sequence[Route]:
    """Return the routes of the forms of an API's routes."""
    return [
        replace(route.as_form(), policy=PAGE_POLICY)
        for route in routes
        if route.mutates
        and route.path.startswith(f"{V1_PREFIX}/")
        and not route.is_deprecated
    ]
