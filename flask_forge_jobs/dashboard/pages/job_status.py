"""The page of a status link: one job for whoever waits for it, without an account.

It is ours, or a template of the application, which follows the job by the script of
``forge_jobs/progress.html``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from flask import Response, current_app, render_template, request
from werkzeug.exceptions import NotFound

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import PAGE_CONTENT_TYPE
from flask_forge_jobs.dashboard.job.progress_view import progress_view
from flask_forge_jobs.dashboard.page import LINK_GONE, page
from flask_forge_jobs.errors import NotFoundError
from flask_forge_jobs.handlers import jobs
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobStatus

PATH = "/v1/job-status/<token>"
# Characters of a result.
MAX_RESULT = 20_000
# Whoever waits need not know of attempts.
_TITLES: Mapping[JobStatus, str] = {
    JobStatus.PENDING: "It waits for its turn",
    JobStatus.IN_PROGRESS: "It runs",
    JobStatus.DONE: "It is done",
    JobStatus.FAILED: "It failed and is tried again",
    JobStatus.DEAD: "It failed",
}


# A page of the application decides about its files, not who may frame it.
_OWN_POLICY = "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


def job_status(api: Api, token: str) -> Mapping[str, object] | Response:
    """Show state, progress and result of the job of a signed link."""
    job_id = api.status_links.job_id(current_app, token)
    if job_id is None:
        raise NotFound(LINK_GONE)
    try:
        state = api.snapshots.get(
            ("job_status", job_id),
            lambda: jobs.job_state(api.storage, job_id, redactor=api.redactor),
        )
    except NotFoundError:
        raise NotFound(LINK_GONE) from None
    is_cancelled = state.ending is Ending.CANCELLED
    title = "It was cancelled" if is_cancelled else _TITLES[state.status]
    shown = {
        "title": title,
        "badge_of": "cancelled" if is_cancelled else state.status,
        "state": state,
        "progress": None if state.progress is None else progress_view(state.progress),
        "result": _shown(state.result),
    }
    own = api.options.status_template
    return shown if own is None else _own(own, shown)


def _own(name: str, shown: Mapping[str, object]) -> Response:
    """Return the application's page; it has its own context and its own filters."""
    # Relative, as a proxy may strip a part of the path.
    text = render_template(name, status_url=request.path.rpartition("/")[2], **shown)
    headers = {"Content-Security-Policy": _OWN_POLICY, "Vary": "Accept"}
    return Response(text, content_type=PAGE_CONTENT_TYPE, headers=headers)


def _shown(result: object) -> str | None:
    if result is None:
        return None
    if isinstance(result, str):
        return result[:MAX_RESULT]
    return json.dumps(result, indent=2, ensure_ascii=False)[:MAX_RESULT]


ROUTES = (page(PATH, job_status, permission=None, blocks=("job",)),)
