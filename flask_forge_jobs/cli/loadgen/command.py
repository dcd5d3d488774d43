"""The command."""

from __future__ import annotations

import logging

import click

from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.loadgen.load import Load, Measured
from flask_forge_jobs.cli.local_api import LocalApi, local_api
from flask_forge_jobs.cli.numbers import Number
from flask_forge_jobs.cli.output import confirm, json_option, print_json, yes_option
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.runtime.plan import DEFAULT_THREADS
from flask_forge_jobs.state import current

LOGGER = logging.getLogger("flask_forge_jobs")
QUEUE = "loadgen"
MAX_JOBS = 10_000_000


@click.command("loadgen", cls=AppCommand, example="loadgen --jobs 20000 --threads 8")
@click.option(
    "--jobs",
    type=click.IntRange(1, MAX_JOBS),
    default=10_000,
    show_default=True,
    help="Jobs to enqueue in bulk, then to run.",
)
@click.option(
    "--rate",
    type=Number(0.1, 10_000),
    help="Instead, enqueue so many a second one by one, and measure their waits.",
)
@click.option(
    "--seconds",
    type=Number(0.1, 86_400),
    default=30.0,
    show_default=True,
    help="Longest run.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    default=DEFAULT_THREADS,
    show_default=True,
    help="Jobs at once.",
)
@click.option(
    "--sleep-ms",
    type=Number(0, 60_000),
    default=0.0,
    show_default=True,
    help="Time that each job takes.",
)
@yes_option
@json_option("the figures")
def loadgen_command(
    *,
    jobs: int,
    rate: float | None,
    seconds: float,
    threads: int,
    sleep_ms: float,
    is_sure: bool,
    as_json: bool,
) -> None:
    """Measure how many jobs a second the database in use carries.

    A worker of this process runs jobs without work in the queue "loadgen", which is
    deleted at the end with its jobs. Their figures stay in the charts. Other processes
    that use the database become slower meanwhile.
    """
    state, api = current(), local_api()
    where = state.database.settings.dsn_for_display
    confirm(f"{where} will be under load; go on?", is_sure=is_sure)
    _clean(api)
    load = Load(state.storage, QUEUE, threads, sleep_ms / 1000, seconds)
    level = LOGGER.level
    LOGGER.setLevel(logging.ERROR)  # a line for each job would be measured, too
    try:
        measured = load.drain(jobs) if rate is None else load.pickup(rate)
    finally:
        LOGGER.setLevel(level)
        _clean(api)
    if as_json:
        print_json(_document(measured))
    else:
        _print(measured)


def _clean(api: LocalApi) -> None:
    """Delete the queue with all its jobs."""
    body = {"action": "delete", "filter": {"queues": [QUEUE]}}
    is_complete = False
    while not is_complete:
        is_complete = api.call("v1_jobs_act", body=body).document["complete"]
    names = [each["name"] for each in api.call("v1_queues").document]
    if QUEUE in names:
        api.call("v1_delete_queue", query={"force": "true"}, name=QUEUE)


def _document(measured: Measured) -> dict[str, object]:
    return {
        "enqueued": measured.enqueued,
        "enqueued_per_second": round(measured.enqueue_rate, 1),
        "ran": measured.ran,
        "run_per_second": round(measured.run_rate, 1),
        "wait_ms": {
            name: round(seconds * 1000, 3)
            for name, seconds in measured.wait_percentiles().items()
        },
    }


def _print(measured: Measured) -> None:
    click.echo(
        f"enqueued: {measured.enqueued:,}, {measured.enqueue_rate:,.0f} a second"
    )
    click.echo(f"ran:      {measured.ran:,}, {measured.run_rate:,.0f} a second")
    waits = measured.wait_percentiles().items()
    if waits:
        shown = ", ".join(f"{name} {duration(seconds)}" for name, seconds in waits)
        click.echo(f"waited:   {shown}")
    if measured.ran < measured.enqueued:
        left = measured.enqueued - measured.ran
        click.echo(f"{left:,} of the jobs did not run in time", err=True)
