"""``flask forge-jobs enqueue``: enqueue a job from a shell."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import click
from flask import current_app

from flask_forge_jobs.cli.actor import actor
from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.local_api import LocalApi
from flask_forge_jobs.model.jobs import EnqueueResult
from flask_forge_jobs.model.payloads import load
from flask_forge_jobs.state import ApplicationState, current
from flask_forge_jobs.tasks.registry import job_of_kind


def _instant(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> datetime | None:
    try:
        return None if value is None else datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a time like 2027-01-31T12:00:00+00:00", ctx, param
        ) from None


@click.command(
    "enqueue", cls=AppCommand, example="enqueue send_welcome '{\"user_id\": 7}'"
)
@click.argument("kind")
@click.argument("payload", default="{}")
@click.option("--queue", help="Queue of the job. Default: the task's queue.")
@click.option("--priority", type=int, help="Lower numbers run first.")
@click.option(
    "--run-at", callback=_instant, help="Start time: 2027-01-31T12:00:00+00:00."
)
@click.option("--delay", type=float, help="Seconds from now, instead of --run-at.")
@click.option(
    "--dedupe-key", help="Do not enqueue while an unfinished job has this key."
)
@click.option("--max-attempts", type=int, help="Most attempts.")
@click.option("--timeout", "timeout_s", type=float, help="Seconds per attempt.")
def enqueue_command(*, kind: str, payload: str, **options: object) -> None:
    """Enqueue a job of a KIND and print its id.

    PAYLOAD is JSON: the arguments by name, such as '{"user_id": 7}'. If the application
    has a task of that kind, the job takes the task's options and the payload must fit.
    """
    state = current()
    if not (current_app.testing or state.is_inline()):
        state.database.require_shared()
    value = load(payload.encode("utf-8", "surrogateescape"), "payload")
    job = job_of_kind(state.registry, state.router, kind, value, **options)
    result = state.enqueue(job)
    # The job is stored, whatever becomes of the entry and of the output.
    try:
        _note(state, kind, value, result, options)
    finally:
        _print_id(result.id)


def _print_id(job_id: str) -> None:
    try:
        click.echo(job_id)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(
            f"job {job_id} is stored; standard output: {error.strerror}"
        ) from error


def _note(
    state: ApplicationState,
    kind: str,
    payload: object,
    result: EnqueueResult,
    options: Mapping[str, object],
) -> None:
    """Leave the entry of ``POST /v1/jobs`` in the audit trail."""
    named = dict(options)
    run_at = named.pop("run_at")
    body = {
        "kind": kind,
        "payload": payload,
        "queue_name": named.pop("queue"),
        "run_at": run_at.isoformat() if isinstance(run_at, datetime) else None,
        **named,
    }
    changed = int(not result.is_deduped)
    api = LocalApi(state, actor())
    api.note("v1_enqueue", body, target=result.id, changed=changed)
