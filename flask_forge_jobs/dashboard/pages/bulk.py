"""Bulk runs: the newest ones, and the progress of one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from flask import request

from flask_forge_jobs.api.bulk_runs import visible_run, visible_runs
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.jobs.offers import VERBS
from flask_forge_jobs.dashboard.jobs.reading import may_now
from flask_forge_jobs.dashboard.jobs.runs import RunView
from flask_forge_jobs.dashboard.jobs.skips import skips_in
from flask_forge_jobs.dashboard.page import page

MAX_LISTED = 50


def bulk(api: Api) -> Mapping[str, object]:
    """Show the newest bulk runs of the caller's queues."""
    shows = Permission.PAYLOAD_REVEAL in may_now(api)
    runs = api.snapshots.get(
        ("bulk runs", api.scope.queues, shows), lambda: visible_runs(api, MAX_LISTED)
    )
    return {"runs": [RunView(run, shows) for run in runs]}


def bulk_run(api: Api, run_id: str) -> Mapping[str, object]:
    """Show the progress of a bulk run, and its result."""
    may = may_now(api)
    shows = Permission.PAYLOAD_REVEAL in may
    run = api.snapshots.get(
        ("bulk run", run_id, api.scope.queues, shows), lambda: visible_run(api, run_id)
    )
    needed = {Permission.JOBS_RETRY, VERBS[run.action].permission}
    return {
        "view": RunView(run, shows),
        "may_stop": needed.issubset(may) and not run.is_over,
    }


def skipped(_: Api) -> Mapping[str, object]:
    """List the jobs that an action has left alone; the address names them."""
    groups, more = skips_in(request.args)
    total = more + sum(len(ids) for _, ids in groups)
    return {"groups": groups, "more": more, "total": total, "query": request.args}


# They show what the actions of the lists of jobs have done.
_page = partial(page, part_of="/jobs", reach=Reach.VIEW)
ROUTES = (
    _page("/bulk", bulk, noun="Bulk runs", blocks=("runs",)),
    _page("/bulk/<run_id>", bulk_run, noun="Bulk run", blocks=("total", "run")),
    _page("/skipped", skipped),
)
