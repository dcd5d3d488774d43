"""Explanations of a job and of a queue."""

from __future__ import annotations

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas.sentences import SentenceSchema
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import explain

_SENTENCE = SentenceSchema()


def explain_job(api: Api, job_id: str) -> Response:
    """Explain why a job waits, where it runs, or how it ended."""
    return api.answer(explain.explain_job(api.storage, job_id, api.scope.queues))


def explain_queue(api: Api, name: str) -> Response:
    """Explain whether the jobs of a queue run, and if not, why."""
    return api.answer(
        explain.explain_queue(
            api.storage, name, api.scope.queues, behind_s=api.options.behind_s
        )
    )


ROUTES = (
    Route(
        view=explain_job, permission=Permission.READ, reach=Reach.JOB, answer=_SENTENCE,
        errors=(404,), is_compared=False,
    ),
    Route(
        view=explain_queue, permission=Permission.READ, reach=Reach.QUEUE,
        answer=_SENTENCE, errors=(404,), is_compared=False,
    ),
)  # fmt: skip
