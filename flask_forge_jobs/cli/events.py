"""``flask forge-jobs events``: what happens to jobs, line by line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import click

from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.local_api import Document, LocalApi, local_api
from flask_forge_jobs.cli.log_lines import EXIT_INTERRUPTED
from flask_forge_jobs.cli.output import json_option, limit_option, print_json
from flask_forge_jobs.handlers.activity import MAX_EVENTS
from flask_forge_jobs.model.activity import EventType
from flask_forge_jobs.model.log_lines import one_line

LOOK_EVERY_S = 1.0


@click.command("events", cls=AppCommand, example="events -f --type dead")
@click.option(
    "--follow", "-f", "is_followed", is_flag=True, help="Print new ones, too."
)
@click.option("--queue", "-q", "queues", multiple=True, help="Queue; repeatable.")
@click.option("--kind", "-k", "kinds", multiple=True, help="Kind; repeatable.")
@click.option(
    "--type",
    "-t",
    "types",
    multiple=True,
    type=click.Choice(list(map(str, EventType))),
    help="Event; repeatable.",
)
@limit_option(MAX_EVENTS, "Begin with at most this many.")
@json_option("each event")
def events_command(
    *,
    is_followed: bool,
    queues: Sequence[str],
    kinds: Sequence[str],
    types: Sequence[str],
    limit: int,
    as_json: bool,
) -> None:
    """Print the last events: jobs enqueued, started, completed, dead or cancelled.

    Ctrl-C ends following with the exit status 130.
    """
    query = {"queue": queues, "kind": kinds, "type": types}
    pause = _wait if is_followed else None
    try:
        event = None
        for event in events(local_api(), query, limit, pause):
            if as_json:
                print_json(event)
            else:
                click.echo(_line(event))
        if event is None and not as_json:
            click.echo("no event matches")
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None


def events(
    api: LocalApi, query: Document, limit: int, pause: Callable[[], None] | None
) -> Iterator[Document]:
    """Yield events, the oldest first.

    ``pause`` is called before each look for new ones; None ends with those that there
    are.
    """
    page = api.call("v1_events", query={**query, "limit": limit}).document
    while True:
        yield from page["events"]
        if pause is None:
            return
        if len(page["events"]) < limit:
            pause()
        limit = MAX_EVENTS
        after = {"after": page["next"], "limit": limit}
        page = api.call("v1_events", query={**query, **after}).document


def _wait() -> None:
    time.sleep(LOOK_EVERY_S)


def _line(event: Document) -> str:
    at = f"{event['at'][:23].replace('T', ' ')}Z"
    kind, queue = one_line(event["kind"]), one_line(event["queue_name"])
    return f"{at} {event['type']:<9} {kind} in {queue} {event['job_id'] or ''}".rstrip()
