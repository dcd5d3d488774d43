"""``flask forge-jobs status``: print the attention report."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import click

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.attention import AttentionSchema
from flask_forge_jobs.cli import screen
from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.local_api import local_api
from flask_forge_jobs.cli.remedies import remedy_of
from flask_forge_jobs.cli.streams import is_terminal
from flask_forge_jobs.errors import QueueNotFoundError
from flask_forge_jobs.handlers.attention.cache import look
from flask_forge_jobs.handlers.attention.report import Report, counts_of, report
from flask_forge_jobs.model.attention import Facts
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.state import current
from flask_forge_jobs.storage.base import StorageInfo

NEEDS_YOU = 1


@dataclass(frozen=True, slots=True)
class _Status:
    """The output of the command."""

    facts: Facts
    report: Report
    info: StorageInfo


@click.command("status", cls=AppCommand, example="status --queue mail")
@click.option(
    "--queue", "queues", multiple=True, help="Only this queue; may be repeated."
)
@click.option("--watch", is_flag=True, help="Draw queues, rates and runs until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status_command(*, queues: Sequence[str], watch: bool, as_json: bool) -> None:
    """Print the queues and jobs that need attention, the worst first.

    The exit status is 0 if nothing does, and 1 if something does or the database cannot
    be reached.
    """
    if watch:
        if queues or as_json:
            raise click.UsageError("--watch works without queues and without --json")
        if not is_terminal(sys.stdout):
            raise click.UsageError("--watch needs a terminal")
        _watch()
    status = _look(queues)
    if as_json:
        click.echo(encode(_document(status)))
    else:
        click.echo("\n".join(_lines(status)))
    if status.report.sentences:
        raise SystemExit(NEEDS_YOU)


def _watch() -> None:
    api = local_api()
    screen.watch(
        lambda size: screen.screen_lines(current(), api, size),
        is_coloured=click.get_current_context().color is not False,
    )


def _look(queues: Sequence[str]) -> _Status:
    state = current()
    storage = state.storage
    at = from_micros(state.clock.now_us())
    facts = look(storage, at, state.settings.behind_s)
    known = {queue.name for queue in facts.queues}
    for name in queues:
        if name not in known:
            raise QueueNotFoundError(name)
    if queues:
        facts = facts.limited_to(queues)
    return _Status(facts, report(facts), storage.describe())


def _document(status: _Status) -> dict[str, object]:
    document = cast("dict[str, object]", dumper(AttentionSchema())(status.report))
    document["counts"] = asdict(counts_of(status.facts.queues))
    document["workers"] = [
        {
            "worker_id": worker.id,
            "worker_name": worker.name,
            "queues": list(worker.queues),
            "is_live": worker.is_live,
            "last_seen_s": round(worker.silent_s),
        }
        for worker in status.facts.workers
    ]
    document["versions"] = {"backend": status.info.backend, **dict(status.info.fields)}
    return document


def _jobs(facts: Facts) -> Iterator[str]:
    counts = counts_of(facts.queues)
    yield f"{counts.pending:,} waiting"
    yield f"{counts.scheduled:,} scheduled"
    yield f"{counts.in_progress:,} in progress"
    if counts.in_progress > facts.running:
        yield f"{counts.in_progress - facts.running:,} of them claimed ahead"
    yield f"{counts.failed:,} retrying"
    yield f"{counts.done:,} done"
    yield f"{counts.dead:,} dead"


def _lines(status: _Status) -> Iterator[str]:
    yield one_line(status.report.summary.text)
    for sentence in status.report.sentences:
        yield f"- {one_line(sentence.text)}"
        if help_ := remedy_of(sentence):
            yield f"    {one_line(help_)}"
    if status.report.left_out:
        yield f"and {status.report.left_out:,} more"
    yield f"jobs: {', '.join(_jobs(status.facts))}"
    for worker in status.facts.workers:
        seen = "live" if worker.is_live else f"seen {duration(worker.silent_s)} ago"
        yield one_line(f"worker {worker.label}: {seen}, {', '.join(worker.queues)}")
    facts = dict(status.info.fields)
    yield (
        f"versions: flask-forge-jobs {facts['package_version']}, schema "
        f"{facts['schema_version']}, {status.info.fields[-1][1]}, "
        f"Python {facts['python_version']}"
    )
