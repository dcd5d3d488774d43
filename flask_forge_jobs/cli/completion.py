"""Completes names of queues, kinds, schedules and limits, and ids, in a shell.

Install it as for every ``flask`` command:
``eval "$(_FLASK_COMPLETE=bash_source flask)"``.
"""

from __future__ import annotations

from collections.abc import Callable

import click
from flask.cli import ScriptInfo

from flask_forge_jobs.cli.local_api import LocalApi, local_api

MAX_NAMES = 100
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _completing(names: Callable[[LocalApi], list[str]]) -> Complete:
    """Return a completion that asks the application's database."""

    def complete(ctx: click.Context, _param: click.Parameter, typed: str) -> list[str]:
        try:
            app = ctx.find_root().ensure_object(ScriptInfo).load_app()
            with app.app_context():
                candidates = names(local_api())
        except Exception:  # noqa: BLE001  # a shell shows what a completion prints
            return []
        return [name for name in candidates if name.startswith(typed)][:MAX_NAMES]

    return complete


def _members(endpoint: str, key: str) -> Complete:
    """Return a completion by a member of each object in an array of the API."""
    return _completing(lambda api: [each[key] for each in api.call(endpoint).document])


def _ids(endpoint: str) -> Complete:
    """Return a completion by the ids of the newest rows of a list."""
    return _completing(
        lambda api: [row["id"] for row in api.rows(endpoint, limit=MAX_NAMES)]
    )


queue_names = _members("v1_queues", "name")
kind_names = _completing(lambda api: list(api.call("v1_jobs_kinds").document))
schedule_names = _members("v1_cron_list", "name")
limit_scopes = _members("v1_rate_limits", "scope")
job_ids = _ids("v1_jobs_find")
batch_ids = _ids("v1_batches")
