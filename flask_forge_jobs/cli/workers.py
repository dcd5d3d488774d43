"""``flask forge-jobs workers``: the workers and their jobs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import click

from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.local_api import local_api
from flask_forge_jobs.cli.output import json_option, print_json_lines
from flask_forge_jobs.cli.tables import NO_VALUE, Column, Row, ago, brief, table_lines
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.worker_details import WorkerState

MAX_WORKERS = 10_000


def _up(worker: Row) -> str:
    began, seen = (
        datetime.fromisoformat(worker[key]) for key in ("started_at", "heartbeat_at")
    )
    return brief((seen - began).total_seconds())


_COLUMNS = (
    Column("WORKER", lambda worker: worker["worker_name"] or worker["worker_id"]),
    Column("STATE", "state"),
    Column("SEEN", ago("heartbeat_at")),
    Column("UP", _up),
    Column("HOST", "host", is_elastic=True),
    Column("PID", lambda worker: str(worker["pid"] or NO_VALUE), is_number=True),
    Column("VERSION", "version"),
    Column(
        "BUSY", lambda each: f"{each['slots'] - each['idle_slots']}/{each['slots']}"
    ),
    Column(
        "QUEUES",
        lambda worker: ", ".join(each["queue_name"] for each in worker["by_queue"]),
        is_elastic=True,
    ),
)


@click.command("workers", cls=AppCommand, example="workers --queue mail")
@click.option("--queue", help="Only those that serve this queue.")
@json_option("each worker")
def workers_command(*, queue: str | None, as_json: bool) -> None:
    """Show the workers with their jobs, and those lost within the last hour.

    Below a worker stand its jobs, the one that runs longest first; below a lost one
    the jobs that other workers took, with their state now.
    """
    rows = local_api().rows("v1_workers", limit=MAX_WORKERS, query={"queue": queue})
    if as_json:
        print_json_lines(rows)
        return
    workers = list(rows)
    if not workers:
        click.echo("no worker is running; start one with `flask forge-jobs worker`")
        return
    head, *lines = table_lines(_COLUMNS, workers)
    click.echo(head)
    for worker, line in zip(workers, lines, strict=True):
        click.echo(line)
        for text in _jobs(worker):
            click.echo(f"  {text}")


def _jobs(worker: Row) -> Iterator[str]:
    for run in sorted(worker["running"], key=lambda run: str(run["started_at"])):
        runs_for = duration(run["run_ms"] / 1000)
        yield f"{_named(run)} runs for {runs_for}"
    if worker["state"] == WorkerState.LOST:
        for job in worker["rescued"]:
            now = job["ending"] or job["status"]
            yield f"{_named(job)} was rescued and is {now}"


def _named(job: Row) -> str:
    return f"{job['job_id']} {one_line(job['kind'])} in {one_line(job['queue_name'])}"
