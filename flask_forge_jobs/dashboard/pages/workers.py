"""Workers: is capacity there, who is lost, which queue has nobody?"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.dashboard.page import page, render
from flask_forge_jobs.dashboard.parameters import chosen
from flask_forge_jobs.dashboard.reads import is_refresh
from flask_forge_jobs.dashboard.workers.one import WorkerView
from flask_forge_jobs.dashboard.workers.rows import MAX_LINES
from flask_forge_jobs.dashboard.workers.view import RANGES, Choice, WorkersView
from flask_forge_jobs.errors import WorkerNotFoundError
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.worker_details import WorkerState

_LONGEST_ID = 128
# Of the address; more are no filter of a person.
_MAX_HOSTS = 20


def workers(api: Api) -> Mapping[str, object]:
    """Show the workers, what their slots run, and queues that none serves."""
    asked = request.args
    state, queue = asked.get("state"), next(iter(chosen(asked, "queue")), None)
    choice = Choice(
        state if state in list(WorkerState) else None,
        queue if queue and api.scope.allows(queue) else None,
        tuple(chosen(asked, "host")[:_MAX_HOSTS]),
        asked.get("cursor"),
        hours=RANGES.get(asked.get("range", ""), 1),
    )
    view = WorkersView(api, choice)
    rows = view.rows  # a cursor that does not fit leaves the links
    kept = {
        "state": view.choice.state,
        "queue": view.choice.queue,
        "host": view.choice.hosts or None,
        "cursor": view.choice.cursor,
        "range": None if choice.hours == 1 else asked["range"],
    }
    return {
        "view": view, "rows": rows, "ranges": RANGES, "lines": MAX_LINES, "query": kept
    }  # fmt: skip


def worker(api: Api, worker_id: str) -> Mapping[str, object] | Response:
    """Show one worker; a missing one has a page with a way back."""
    try:
        view = WorkerView(api, worker_id)
    except WorkerNotFoundError:
        shown = {"worker_id": one_line(worker_id, _LONGEST_ID)}
        # An open page shows it in place of what it had.
        return render(api, "worker_missing", shown, 200 if is_refresh() else 404)
    return {"view": view, "query": view.query}


ROUTES = (
    page(
        "/workers", workers, reach=Reach.VIEW, nav="Workers", icon="workers", order=32,
        key="w", blocks=("summary", "alerts", "workers"),
    ),
    page(
        "/workers/<worker_id>", worker, reach=Reach.VIEW, noun="Worker",
        blocks=("worker", "slots", "rescued", "machine"),
    ),
)  # fmt: skip
