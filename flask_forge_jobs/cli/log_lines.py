"""``flask forge-jobs logs``: what a job has logged, and what it logs now."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import click

from flask_forge_jobs.api.response import dumper
from flask_forge_jobs.api.schemas.log_lines import LogLineSchema
from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.handlers.jobs import MAX_PAGE_SIZE
from flask_forge_jobs.handlers.log_lines import read_lines
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.run_logs import StoredLine
from flask_forge_jobs.state import current
from flask_forge_jobs.storage.base import Storage

LOOK_EVERY_S = 0.5
# What a shell reports of a program that ctrl-C has ended.
EXIT_INTERRUPTED = 130
_INDENT = "    "


@click.command("logs", cls=AppCommand, example="logs -f 01JQ3N6Z8T4S0V9XK2M7C5B1WD")
@click.argument("job_id", metavar="ID")
@click.option(
    "--follow",
    "-f",
    "is_followed",
    is_flag=True,
    help="Print new lines, too, until the job has ended.",
)
@click.option(
    "--attempt", type=click.IntRange(min=1), help="Only the lines of this attempt."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print each line as JSON, as GET /v1/jobs/{id}/logs does.",
)
def logs_command(
    *, job_id: str, is_followed: bool, attempt: int | None, as_json: bool
) -> None:
    """Print the log lines of a job: time, level, logger and text.

    A line above those of each run names its attempt. Ctrl-C ends following with the
    exit status 130.
    """
    pause = _wait if is_followed else None
    dump = dumper(LogLineSchema())
    run = 0
    try:
        for line in log_lines(current().storage, job_id, pause):
            if attempt not in (None, line.attempt):
                continue
            if as_json:
                click.echo(json.dumps(dump(line)))
                continue
            if line.run != run:
                run = line.run
                click.echo(f"attempt {line.attempt}:")
            click.echo(_shown(line))
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None


def log_lines(
    storage: Storage, job_id: str, pause: Callable[[], None] | None
) -> Iterator[StoredLine]:
    """Yield the lines of a job.

    ``pause`` is called before each look for lines that may have come; None ends with
    the lines that there are.

    Raises:
        JobNotFoundError: No job has this id.
    """
    place = None
    while True:
        page = read_lines(storage, job_id, after=place, limit=MAX_PAGE_SIZE)
        yield from page.lines
        place = page.next
        if page.is_complete:
            return
        if page.is_all:
            if pause is None:
                return
            pause()


def _wait() -> None:
    time.sleep(LOOK_EVERY_S)


def _shown(line: StoredLine) -> str:
    """Return a line for a terminal, further lines of its text indented."""
    time_ = line.at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    first, *more = line.text.expandtabs().split("\n")
    head = f"{time_}Z {_escaped(line.level)} {_escaped(line.logger)}: {_escaped(first)}"
    return "\n".join([head, *(f"{_INDENT}{_escaped(each)}" for each in more)])


def _escaped(text: str) -> str:
    return one_line(text, len(text))
