"""Answers reads from a standby, but not those of a caller right after a change.

The answer to a change sets a cookie for as long as a standby may be behind. While the
client sends it, the primary answers; afterwards each standby that may answer shows the
change. A client that keeps no cookies sends ``Cache-Control: no-cache``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from flask import Response, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import RequestState
from flask_forge_jobs.auth.csrf import keep_cookie

if TYPE_CHECKING:
    from flask_forge_jobs.storage.standby import Standby

# In the path "/", because forms and pages have different folders.
COOKIE = "forge_jobs_changed"
SERVER_HEADER = "X-Read-Server"
_ERROR = 400


class StandbyReads:
    """Answers reads of one blueprint from a standby, or else from the primary."""

    def __init__(self, api: Api, standby: Standby) -> None:
        self._api = api
        self._on_standby = api.on(standby.storage)
        self._standby = standby

    def answer(self, view: Callable[..., Response], **placeholders: str) -> Response:
        """Return the response of a view that may be a little old."""
        if COOKIE not in request.cookies and not request.cache_control.no_cache:
            read = partial(view, self._on_standby, **placeholders)
            response = self._standby.answer(read)
            if response is not None:
                response.headers[SERVER_HEADER] = "standby"
                return response
        return view(self._api, **placeholders)

    def note_change(self, state: RequestState, response: Response) -> None:
        """Let the client read from the primary until the standby shows its change."""
        if response.status_code >= _ERROR:
            return
        if state.route.is_form:
            self._on_standby.snapshots.forget()
        kept_s = math.ceil(self._standby.max_lag_s) + 1
        keep_cookie(state.request, response, COOKIE, "1", max_age=kept_s)
