"""``flask forge-jobs cleanup``: delete the finished jobs whose retention is over."""

from __future__ import annotations

import click

from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.local_api import given, local_api
from flask_forge_jobs.cli.output import json_option, print_json
from flask_forge_jobs.model.sentences import count


@click.command("cleanup", cls=AppCommand, example="cleanup --dry-run")
@click.option("--queue", "queue_name", help="Only this queue.")
@click.option("--dry-run", is_flag=True, default=None, help="Only count the jobs.")
@json_option("the counts")
def cleanup_command(
    *, queue_name: str | None, dry_run: bool | None, as_json: bool
) -> None:
    """Delete the finished jobs whose retention is over, as a worker does hourly."""
    api = local_api()
    body = given(queue_name=queue_name, dry_run=dry_run)
    total = {"done_deleted": 0, "dead_deleted": 0}
    while True:
        answer = api.call("v1_queue_cleanup", body=body)
        for key in total:
            total[key] += answer.document[key]
        if answer.headers.get("X-Bulk-Complete") != "false":
            break
    if as_json:
        print_json(total)
        return
    done, dead = total["done_deleted"], total["dead_deleted"]
    verb = "would be deleted" if dry_run else "deleted"
    click.echo(f"{count(done, 'done job')} and {count(dead, 'dead job')} {verb}")
