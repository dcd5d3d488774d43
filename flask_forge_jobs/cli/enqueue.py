"""``flask forge-jobs enqueue``: enqueue a job from a shell."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import click
from flask import current_app

from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.local_api import local_api
from flask_forge_jobs.cli.times import instant
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.payloads import load
from flask_forge_jobs.state import current
from flask_forge_jobs.tasks.registry import job_of_kind


@click.command(
    "enqueue", cls=AppCommand, example="enqueue send_welcome '{\"user_id\": 7}'"
)
@click.argument("kind")
@click.argument("payload", default="{}")
@click.option("--queue", help="Queue of the job. Default: the task's queue.")
@click.option("--priority", type=int, help="Lower numbers run first.")
@click.option(
    "--run-at", callback=instant, help="Start time: 2027-01-31T12:00:00+00:00."
)
@click.option("--delay", type=float, help="Seconds from now, instead of --run-at.")
@click.option(
    "--dedupe-key", help="Do not enqueue while an unfinished job has this key."
)
@click.option("--max-attempts", type=int, help="Most attempts.")
@click.option("--timeout", "timeout_s", type=float, help="Seconds per attempt.")
def enqueue_command(
    *, kind: str, payload: str, run_at: str | None, **options: object
) -> None:
    """Enqueue a job of a KIND and print its id.

    PAYLOAD is JSON: the arguments by name, such as '{"user_id": 7}'. If the application
    has a task of that kind, the job takes the task's options and the payload must fit.
    """
    state = current()
    if not (current_app.testing or state.is_inline()):
        state.database.require_shared()
    try:
        value = load(payload.encode(), "payload")
    except InvalidInputError as error:
        example = "write the arguments by name, such as '{\"user_id\": 7}'"
        raise InvalidInputError("payload", f"{error.message}; {example}") from None
    options["run_at"] = None if run_at is None else datetime.fromisoformat(run_at)
    job = job_of_kind(state.registry, state.router, kind, value, **options)
    queue_name = options.pop("queue")
    body = {
        "kind": kind,
        "payload": value,
        "queue_name": queue_name,
        **options,
        "run_at": run_at,
    }
    result = state.enqueue(job, store=partial(local_api().enqueue, body))
    try:
        click.echo(result.id)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(
            f"job {result.id} is stored; standard output: {error.strerror}"
        ) from error
