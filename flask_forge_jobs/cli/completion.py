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


def _completing(names: Callable[[LocalApi, str], list[str]]) -> Complete:
    """Return a completion that asks the application's database."""

    def complete(ctx: click.Context, _param: click.Parameter, typed: str) -> list[str]:
        try:
            app = ctx.find_root().ensure_object(ScriptInfo).load_app()
            with app.app_context():
                candidates = names(local_api(), typed)
        except Exception:  # noqa: BLE001  # a shell shows what a completion prints
            return []
        return [name for name in candidates if name.startswith(typed)][:MAX_NAMES]

    return complete


queue_names = _completing(
    lambda api, _: [each["name"] for each in api.call("v1_queues").document]
)
kind_names = _completing(lambda api, _: list(api.call("v1_jobs_kinds").document))
schedule_names = _completing(
    lambda api, _: [each["name"] for each in api.call("v1_cron_list").document]
)
limit_scopes = _completing(
    lambda api, _: [each["scope"] for each in api.call("v1_rate_limits").document]
)
job_ids = _completing(
    lambda api, _: [
        each["id"]
        for each in api.call("v1_jobs_find", query={"limit": MAX_NAMES}).document[
            "rows"
        ]
    ]
)
batch_ids = _completing(
    lambda api, _: [
        each["id"]
        for each in api.call("v1_batches", query={"limit": MAX_NAMES}).document["rows"]
    ]
)
