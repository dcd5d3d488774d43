"""``flask forge-jobs jobs``: list, show and change jobs."""

from __future__ import annotations

import click

from flask_forge_jobs.cli.completion import job_ids
from flask_forge_jobs.cli.errors import AppGroup
from flask_forge_jobs.cli.job_changes import CHANGES
from flask_forge_jobs.cli.job_filters import Choice, chosen_jobs
from flask_forge_jobs.cli.job_view import job_lines, waits_for_jobs
from flask_forge_jobs.cli.local_api import local_api
from flask_forge_jobs.cli.output import (
    json_option,
    limit_option,
    print_json,
    print_page,
)
from flask_forge_jobs.cli.tables import Column, Row, since
from flask_forge_jobs.handlers.jobs import DEFAULT_SORT, MAX_PAGE_SIZE, SORTS

MAX_LIMIT = 1_000_000


@click.group("jobs", cls=AppGroup)
def jobs_group() -> None:
    """List, show and change jobs."""


for change in CHANGES:
    jobs_group.add_command(change)


def _status(row: Row) -> str:
    return str(row["ending"] or row["status"])


def _when(row: Row) -> str:
    """Return the time that matters in the state of a job."""
    if row["completed_at"] is not None:
        return since(row["completed_at"])
    if row["status"] == "in_progress":
        return f"for {since(row['started_at']).removesuffix(' ago')}"
    if waits_for_jobs(row):
        return "waits for jobs"
    return f"due {since(row['scheduled_at'])}"


JOB_COLUMNS = (
    Column("ID", "id"),
    Column("STATUS", _status),
    Column("QUEUE", "queue_name", is_elastic=True),
    Column("KIND", "kind", is_elastic=True),
    Column("TRIES", lambda row: f"{row['attempts']}/{row['max_attempts']}"),
    Column("WHEN", _when),
    Column("LAST ERROR", "last_error", is_elastic=True),
)


@jobs_group.command("list", example="jobs list --dead --kind send_mail --since 2h")
@limit_option(MAX_LIMIT, "Print at most this many jobs.")
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    default=DEFAULT_SORT,
    show_default=True,
    metavar="COLUMN",
    help="Column to sort by; a - in front means descending.",
)
@click.option("--count", "only_counted", is_flag=True, help="Print only the counts.")
@json_option("each job")
@chosen_jobs
def list_command(
    *, choice: Choice, limit: int, sort: str, only_counted: bool, as_json: bool
) -> None:
    """List jobs, the newest first."""
    api = local_api()
    query = {**choice.as_query()}
    if only_counted:
        _print_counts(api.call("v1_jobs_count", query=query).document, as_json=as_json)
        return
    query["sort"] = sort
    rows = api.rows(
        "v1_jobs_find", query=query, limit=limit + 1, page_size=MAX_PAGE_SIZE
    )
    print_page(JOB_COLUMNS, rows, "job", limit, as_json=as_json)


def _print_counts(counts: Row, *, as_json: bool) -> None:
    if as_json:
        print_json(counts)
        return
    for name, number in counts.items():
        click.echo(f"{name}: {number:,}")


@jobs_group.command("show", example="jobs show 01890a5d-ac96-774b-bcce-b302099a8057")
@click.argument("job_id", metavar="ID", shell_complete=job_ids)
@click.option("--reveal", is_flag=True, help="Show masked secrets; this is audited.")
@json_option("the job")
def show_command(*, job_id: str, reveal: bool, as_json: bool) -> None:
    """Show a job: payload, attempts, last error, progress and result."""
    query = {"reveal": "1" if reveal else None}
    job = local_api().call("v1_job_read", query=query, job_id=job_id).document
    if as_json:
        print_json(job)
        return
    for line in job_lines(job):
        click.echo(line)
