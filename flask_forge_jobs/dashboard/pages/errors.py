"""Failures by signature: which one error explains most of them, and is it new?"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.dashboard.failures.view import ErrorQuery, ErrorsView, ErrorView
from flask_forge_jobs.dashboard.nav_counts import ERRORS
from flask_forge_jobs.dashboard.page import page, render
from flask_forge_jobs.dashboard.reads import is_refresh
from flask_forge_jobs.model.error_groups import ErrorOrder, ErrorRange
from flask_forge_jobs.model.signatures import MAX_SIGNATURE_LENGTH

BLOCKS = ("summary", "groups")
# Of the address; more are no filter of a person.
_MAX_NAMES = 20


def errors(api: Api) -> Mapping[str, object] | Response:
    """Show the failures of a range by signature, or one group of them."""
    query = _query(api)
    if query.signature is not None:
        view = ErrorView(api, query)
        shown = {"view": view, "query": query.kept}
        status = 200 if view.detail or is_refresh() else 404
        return render(api, "error", shown, status)
    listed = ErrorsView(api, query)
    counted = {ERRORS: listed.page.total} if listed.query.is_whole else {}
    return {"view": listed, "query": listed.query.kept, "counted": lambda: counted}


def _query(api: Api) -> ErrorQuery:
    asked = request.args
    within, sort = asked.get("range"), asked.get("sort")
    queues = [name for name in asked.getlist("queue") if api.scope.allows(name)]
    return ErrorQuery(
        ErrorRange(within) if within in list(ErrorRange) else ErrorRange.DAY,
        ErrorOrder(sort) if sort in list(ErrorOrder) else ErrorOrder.COUNT,
        tuple(queues[:_MAX_NAMES]),
        tuple(asked.getlist("kind")[:_MAX_NAMES]),
        asked.get("cursor"),
        # No longer than one, and then unknown.
        asked.get("signature", "")[: MAX_SIGNATURE_LENGTH + 1] or None,
    )


ROUTES = (
    page(
        "/errors", errors, reach=Reach.VIEW, blocks=BLOCKS, nav="Errors", icon="errors",
        order=15, key="e",
    ),
)  # fmt: skip
