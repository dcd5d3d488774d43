"""``flask forge-jobs kinds``: the run times and failures of each kind."""

from __future__ import annotations

from collections.abc import Callable

import click

from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.local_api import local_api
from flask_forge_jobs.cli.output import json_option, print_rows
from flask_forge_jobs.cli.tables import NO_VALUE, Column, Row, span
from flask_forge_jobs.cli.times import at_age, instant_or_age


def _ran(key: str) -> Callable[[Row], str]:
    """Return a cell with a time of the completed jobs."""
    cell = span(key)
    return lambda kind: cell(kind) if kind["completed"] else NO_VALUE


def _success(kind: Row) -> str:
    rate = kind["success_rate"]
    return NO_VALUE if rate is None else f"{rate:.1%}"


_COLUMNS = (
    Column("KIND", "kind", is_elastic=True),
    Column("DONE", "completed", is_number=True),
    Column("RETRIED", "retried", is_number=True),
    Column("DEAD", "dead", is_number=True),
    Column("CANCELLED", "cancelled", is_number=True),
    Column("SUCCESS", _success, is_number=True),
    *(Column(f"P{n}", _ran(f"p{n}_ms"), is_number=True) for n in (50, 95, 99)),
)


@click.command("kinds", cls=AppCommand, example="kinds --since 7d")
@click.option(
    "--since", callback=instant_or_age, help="Start: 2h, 7d. Default: a day ago."
)
@click.option("--queue", help="Only jobs of this queue.")
@json_option("each kind")
def kinds_command(*, since: str | None, queue: str | None, as_json: bool) -> None:
    """Show the run times and failures of each kind."""
    query = {"from": at_age(since), "queue": queue}
    kinds = local_api().call("v1_kinds", query=query).document
    print_rows(_COLUMNS, kinds, "no job ended in this time", as_json=as_json)
