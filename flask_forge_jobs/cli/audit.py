"""``flask forge-jobs audit``: list and prune the audit trail."""

from __future__ import annotations

import click

from flask_forge_jobs.cli.actor import actor
from flask_forge_jobs.cli.errors import AppGroup
from flask_forge_jobs.cli.facts import instant, text_of
from flask_forge_jobs.cli.local_api import local_api
from flask_forge_jobs.cli.output import json_option, limit_option, print_rows
from flask_forge_jobs.cli.tables import Column
from flask_forge_jobs.cli.times import at_age, instant_or_age
from flask_forge_jobs.handlers import audit
from flask_forge_jobs.state import current

_COLUMNS = (
    Column("AT", lambda entry: instant(entry["at"])),
    Column("ACTOR", "actor", is_elastic=True),
    Column("ACTION", "action"),
    Column("TARGET", "target", is_elastic=True),
    Column("DETAIL", lambda entry: text_of(entry["detail"]), is_elastic=True),
)


@click.group("audit", cls=AppGroup)
def audit_group() -> None:
    """List and prune the audit trail."""


@audit_group.command("list", example="audit list --since 24h --actor user:ada")
@click.option("--actor", "by", help="Exactly this caller.")
@click.option("--action", help="Exactly this action, such as job_retry.")
@click.option("--target", help="Exactly this job, queue or schedule.")
@click.option("--since", callback=instant_or_age, help="Entries since: 2h, 7d.")
@click.option("--until", callback=instant_or_age, help="Entries until: 30m.")
@limit_option(100_000, "Print at most this many entries.")
@json_option("each entry")
def list_command(
    *,
    by: str | None,
    action: str | None,
    target: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List who changed what, the newest first."""
    query = {
        "actor": by,
        "action": action,
        "target": target,
        "from": at_age(since),
        "to": at_age(until),
    }
    entries = list(local_api().rows("v1_audit", limit=limit, query=query))
    print_rows(_COLUMNS, entries, "no entry matches", as_json=as_json)


@audit_group.command("prune", example="audit prune --days 365")
@click.option(
    "--days", required=True, type=int, help="Keep this many days; at least 90."
)
def prune(*, days: int) -> None:
    """Delete the entries that are older than --days.

    Each deleted batch is recorded as a new entry.
    """
    pruned = audit.prune(current().storage, days, actor=actor())
    click.echo(f"prune: {pruned} entries deleted")
