"""The page of one job: why it does not run or what it does, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response, request

from flask_forge_jobs.api.addresses import JOB_PAGE_PATH
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import prefers_page, present_state
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.dashboard.job.log_view import Level
from flask_forge_jobs.dashboard.job.view import QUESTIONS, Choice, JobView
from flask_forge_jobs.dashboard.page import page, render
from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.model.log_lines import one_line

BLOCKS = (
    "job", "why", "progress", "attempts", "ties", "failures", "log", "result", "facts",
)  # fmt: skip
_MAX_DIGITS = 9
_LONGEST_ID = 64
_LONGEST_TEXT = 100


def job(api: Api, job_id: str) -> Mapping[str, object] | Response:
    """Show one job; a missing one has a page with a way back."""
    choice = _choice()
    try:
        view = JobView(api, job_id, choice)
    except JobNotFoundError:
        if not prefers_page(request):
            raise
        shown = {"job_id": one_line(job_id, _LONGEST_ID)}
        # An open page shows it in place of what it had.
        return render(api, "job_missing", shown, 200 if choice.is_refresh else 404)
    return {
        "job": view,
        "reveals": present_state().reveals,
        "query": {
            "run": choice.run,
            "level": choice.level or None,
            "find": choice.find or None,
        },
    }


def _choice() -> Choice:
    asked = request.args
    run, level, question = asked.get("run", ""), asked.get("level"), asked.get("ask")
    is_number = run.isascii() and run.isdecimal() and len(run) <= _MAX_DIGITS
    return Choice(
        int(run) if is_number else None,
        Level(level) if level in list(Level) else Level.ALL,
        question if question in QUESTIONS else None,
        is_refresh="only" in asked and not present_state().reveals,
        after=asked.get("after") if "only" in asked else None,
        find=asked.get("find", "").strip()[:_LONGEST_TEXT],
    )


ROUTES = (
    # A job of another queue is a missing one: the view knows its queue from the read
    # that shows it.
    page(
        JOB_PAGE_PATH,
        job,
        reach=Reach.VIEW,
        blocks=BLOCKS,
        noun="Job",
        can_reveal=True,
    ),
)
