"""Counts and times every request of one blueprint, refused ones included."""

from __future__ import annotations

from time import perf_counter

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request_state import RequestState


class RequestMeter:
    """The last step of an answer.

    Args:
        api: Keeps the figures.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    def __call__(self, state: RequestState, response: Response) -> Response:
        """Count the request; return its answer as it is."""
        self._api.request_metrics.observe(
            state.request.method,
            state.route.path,
            response.status_code,
            perf_counter() - state.began,
        )
        return response
