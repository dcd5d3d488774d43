"""``flask forge-jobs ready``: the readiness of the deployment, for scripts."""

from __future__ import annotations

import click

from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.local_api import local_api
from flask_forge_jobs.cli.output import json_option, print_json
from flask_forge_jobs.handlers.readiness import ReadyStatus
from flask_forge_jobs.model.log_lines import one_line


@click.command("ready", cls=AppCommand, example="ready && echo deployed")
@json_option("the checks")
def ready_command(*, as_json: bool) -> None:
    """Check the database, the schema and the workers.

    The exit status is 1 if jobs cannot be stored.
    """
    report = local_api().call("v1_ready").document
    if as_json:
        print_json(report)
    else:
        click.echo(report["status"])
        for check in report["checks"]:
            state = "ok" if check["ok"] else "NOT OK"
            detail = f", {one_line(check['detail'])}" if check["detail"] else ""
            click.echo(f"- {check['name']}: {state}{detail}")
    if report["status"] == ReadyStatus.UNAVAILABLE:
        raise SystemExit(1)
