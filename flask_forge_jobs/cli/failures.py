"""``flask forge-jobs errors``: the failures, grouped by signature."""

from __future__ import annotations

from collections.abc import Sequence

import click

from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.local_api import local_api
from flask_forge_jobs.cli.output import json_option, limit_option, print_rows
from flask_forge_jobs.cli.tables import Column, ago
from flask_forge_jobs.handlers.errors import MAX_ERROR_GROUPS
from flask_forge_jobs.model.error_groups import ErrorOrder, ErrorRange

_COLUMNS = (
    Column("FAILURES", "count", is_number=True),
    Column("RETRYING", "retrying", is_number=True),
    Column("DEAD", "dead", is_number=True),
    Column("FIRST", ago("first_seen")),
    Column("LAST", ago("last_seen")),
    Column("KINDS", lambda group: ", ".join(group["kinds"]), is_elastic=True),
    Column("SIGNATURE", "signature", is_elastic=True),
)


@click.command("errors", cls=AppCommand, example="errors --range 24h")
@click.option("--queue", "-q", "queues", multiple=True, help="Queue; repeatable.")
@click.option("--kind", "-k", "kinds", multiple=True, help="Kind; repeatable.")
@click.option(
    "--range",
    "within",
    type=click.Choice(list(map(str, ErrorRange))),
    default=str(ErrorRange.MONTH),
    show_default=True,
    help="Failures of this time up to now.",
)
@click.option(
    "--sort",
    type=click.Choice(list(map(str, ErrorOrder))),
    default=str(ErrorOrder.COUNT),
    show_default=True,
    help="Order of the groups.",
)
@limit_option(MAX_ERROR_GROUPS, "Print at most this many groups.")
@json_option("each group")
def errors_command(
    *,
    queues: Sequence[str],
    kinds: Sequence[str],
    within: str,
    sort: str,
    limit: int,
    as_json: bool,
) -> None:
    """Show the failures, grouped by signature.

    `jobs list --signature` shows the jobs of a group.
    """
    query = {
        "queue": queues,
        "kind": kinds,
        "range": within,
        "sort": sort,
        "limit": limit,
    }
    groups = local_api().call("v1_errors", query=query).document
    print_rows(_COLUMNS, groups, "no job failed in this time", as_json=as_json)
