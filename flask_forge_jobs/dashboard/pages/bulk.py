"""Bulk runs: the newest ones, and the progress of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from flask import request

from flask_forge_jobs.api.bulk_runs import visible_run, visible_runs
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.jobs.offers import VERBS
from flask_forge_jobs.dashboard.jobs.reading import may_now
from flask_forge_jobs.dashboard.jobs.runs import RunView
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.handlers.snapshots import KEPT_S

T = TypeVar("T")
MAX_LISTED = 50


def bulk(api: Api) -> Mapping[str, object]:
    """Show the newest bulk runs of the caller's queues."""
    shows = Permission.PAYLOAD_REVEAL in may_now(api)
    runs = api.snapshots.get(
        ("bulk runs", api.scope.queues), lambda: visible_runs(api, MAX_LISTED)
    )
    return {"runs": [RunView(run, shows) for run in runs]}


def bulk_run(api: Api, run_id: str) -> Mapping[str, object]:
    """Show the progress of a bulk run, and its result."""
    run = api.snapshots.get(
        ("bulk run", run_id, api.scope.queues), lambda: visible_run(api, run_id)
    )
    may = may_now(api)
    needed = {Permission.JOBS_RETRY, VERBS[run.action].permission}
    return {
        "view": RunView(run, Permission.PAYLOAD_REVEAL in may),
        "may_stop": needed.issubset(may) and not run.is_over,
    }


def _kept(api: Api, run_id: str, read: Callable[[], T]) -> T:
    """Share the read among refreshes; a page that is opened shows what is true now."""
    kept_s = KEPT_S if "only" in request.args else 0.0
    return api.snapshots.get(("bulk", api.scope.queues, run_id), read, kept_s=kept_s)


ROUTES = (
    page("/bulk", bulk, blocks=("runs",), reach=Reach.VIEW),
    page("/bulk/<run_id>", bulk_run, blocks=("found", "run"), reach=Reach.VIEW),
)
