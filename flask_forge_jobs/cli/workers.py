"""``flask forge-jobs workers``: the workers and their jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import click

from flask_forge_jobs.api.response import dumper
from flask_forge_jobs.api.schemas.workers import WorkerDetailSchema
from flask_forge_jobs.cli.errors import within_application
from flask_forge_jobs.handlers.workers import (
    MAX_WORKERS_A_PAGE,
    WorkerDetail,
    list_workers,
)
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.worker_details import WorkerState
from flask_forge_jobs.state import current
from flask_forge_jobs.storage.base import Storage

_HEAD = ("WORKER", "STATE", "SEEN", "UP", "HOST", "PID", "VERSION", "BUSY", "QUEUES")


@click.command("workers")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print each as JSON, as GET /v1/workers does.",
)
@within_application
def workers_command(*, as_json: bool) -> None:
    """Show the workers with their jobs, and those lost within the last hour.

    Below a worker stand its jobs, the one that runs longest first; below a lost one
    the jobs that other workers took, with their state now.
    """
    workers = list(_all(current().storage))
    if as_json:
        dump = dumper(WorkerDetailSchema())
        for each in workers:
            click.echo(json.dumps(dump(each)))
        return
    if not workers:
        click.echo("no worker is running; start one with `flask forge-jobs worker`")
        return
    rows = [_HEAD, *(_row(each) for each in workers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    click.echo(_line(_HEAD, widths))
    for each, row in zip(workers, rows[1:], strict=True):
        click.echo(_line(row, widths))
        for text in _jobs(each):
            click.echo(f"  {text}")


def _all(storage: Storage) -> Iterator[WorkerDetail]:
    cursor = None
    while True:
        page = list_workers(storage, limit=MAX_WORKERS_A_PAGE, cursor=cursor)
        yield from page.rows
        cursor = page.next_cursor
        if cursor is None:
            return


def _row(detail: WorkerDetail) -> tuple[str, ...]:
    worker = detail.worker
    up_s = (worker.heartbeat_at - worker.started_at).total_seconds()
    return (
        one_line(worker.worker_name or worker.worker_id),
        str(worker.state),
        f"{duration(worker.whole_heartbeat_age_s)} ago",
        duration(up_s),
        one_line(worker.host or "-"),
        "-" if worker.pid is None else str(worker.pid),
        worker.version or "-",
        f"{detail.slots - detail.idle_slots} of {detail.slots}",
        one_line(", ".join(worker.queues) or "-"),
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join(cells).rstrip()


def _jobs(detail: WorkerDetail) -> Iterator[str]:
    for run in sorted(detail.running, key=lambda run: run.started_at):
        kind, queue = one_line(run.kind), one_line(run.queue_name)
        yield f"{run.job_id} {kind} in {queue} runs for {duration(run.run_ms / 1000)}"
    if detail.worker.state is not WorkerState.LOST:
        return
    for job in detail.rescued:
        kind, queue = one_line(job.kind), one_line(job.queue_name)
        now = job.ending or job.status
        yield f"{job.job_id} {kind} in {queue} was rescued and is {now}"
