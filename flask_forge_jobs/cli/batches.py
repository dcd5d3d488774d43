"""``flask forge-jobs batches``: list, show, seal, cancel, retry, delete batches."""

from __future__ import annotations

import click

from flask_forge_jobs.cli.completion import batch_ids
from flask_forge_jobs.cli.errors import AppGroup
from flask_forge_jobs.cli.facts import print_facts
from flask_forge_jobs.cli.jobs import JOB_COLUMNS, MAX_LIMIT
from flask_forge_jobs.cli.local_api import LocalApi, local_api
from flask_forge_jobs.cli.output import (
    confirm,
    json_option,
    limit_option,
    print_change,
    print_json,
    print_page,
    yes_option,
)
from flask_forge_jobs.cli.tables import Column, Row, ago, print_table
from flask_forge_jobs.handlers.jobs import MAX_PAGE_SIZE
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.sentences import count

# Dead jobs below a batch.
_MAX_DEAD = 10


@click.group("batches", cls=AppGroup)
def batches_group() -> None:
    """List, show and change batches: jobs that belong together."""


_COLUMNS = (
    Column("ID", "id"),
    Column("NAME", "name", is_elastic=True),
    Column("STATE", "state"),
    Column("TOTAL", "total", is_number=True),
    Column("WAITING", "waiting", is_number=True),
    Column("RUNNING", "running", is_number=True),
    Column("DONE", "done", is_number=True),
    Column("DEAD", "dead", is_number=True),
    Column("CREATED", ago("created_at")),
)
_STATUSES = tuple(map(str, JobStatus))
_limit = limit_option(MAX_LIMIT, "Print at most this many.")
_batch_id = click.argument("batch_id", metavar="ID", shell_complete=batch_ids)


@batches_group.command("list", example="batches list --open")
@click.option("--open", "is_open", is_flag=True, help="Only those that have not ended.")
@_limit
@json_option("each batch")
def list_command(*, is_open: bool, limit: int, as_json: bool) -> None:
    """List batches with the number of their jobs in each state, the newest first."""
    query = {"open": "1" if is_open else None}
    rows = local_api().rows(
        "v1_batches", query=query, limit=limit + 1, page_size=MAX_PAGE_SIZE
    )
    print_page(_COLUMNS, rows, "batch", limit, as_json=as_json)


@batches_group.command("show", example="batches show 01KPGR5B1WD4T0S9XK2M7C8Q3N")
@_batch_id
@click.option("--reveal", is_flag=True, help="Show masked secrets; this is audited.")
@json_option("the batch")
def show_command(*, batch_id: str, reveal: bool, as_json: bool) -> None:
    """Show a batch: its counts, its events, and the first jobs that are dead."""
    api = local_api()
    query = {"reveal": "1" if reveal else None}
    batch = api.call("v1_batch", query=query, batch_id=batch_id).document
    if as_json:
        print_json(batch)
        return
    print_facts(f"batch {batch_id}", _facts(batch))
    if batch["dead"]:
        dead = api.rows(
            "v1_batch_jobs",
            query={"status": "dead"},
            limit=_MAX_DEAD,
            batch_id=batch_id,
        )
        click.echo()
        print_table(JOB_COLUMNS, dead)


def _facts(batch: Row) -> dict[str, object]:
    facts = {
        key: value for key, value in batch.items() if key not in ("id", "redacted")
    }
    facts["progress"] = f"{batch['progress']:.0%}"
    if batch["redacted"]:
        facts["masked"] = "secrets; --reveal shows them"
    return facts


@batches_group.command(
    "jobs", example="batches jobs 01KPGR5B1WD4T0S9XK2M7C8Q3N -s dead"
)
@_batch_id
@click.option("--status", "-s", type=click.Choice(_STATUSES), help="State of the jobs.")
@_limit
@json_option("each job")
def jobs_command(
    *, batch_id: str, status: str | None, limit: int, as_json: bool
) -> None:
    """List the jobs of a batch, in the order in which they were added."""
    api = local_api()
    rows = api.rows(
        "v1_batch_jobs", query={"status": status}, limit=limit + 1, batch_id=batch_id
    )
    print_page(JOB_COLUMNS, rows, "job", limit, as_json=as_json)


@batches_group.command("seal", example="batches seal 01KPGR5B1WD4T0S9XK2M7C8Q3N")
@_batch_id
@json_option("the batch")
def seal_command(*, batch_id: str, as_json: bool) -> None:
    """Say that an open batch has all its jobs, so that it ends with the last one."""
    batch = local_api().call("v1_batch_seal", batch_id=batch_id).document
    print_change(batch, f"{_name(batch)} sealed; {_state(batch)}", as_json=as_json)


@batches_group.command("cancel", example="batches cancel 01KPGR5B1WD4T0S9XK2M7C8Q3N")
@_batch_id
@yes_option
@json_option("the batch")
def cancel_command(*, batch_id: str, is_sure: bool, as_json: bool) -> None:
    """End the jobs of a batch that wait, and ask those that run to stop."""
    api = local_api()
    batch = _read(api, batch_id)
    jobs = count(batch["waiting"] + batch["running"], "unfinished job")
    confirm(f"{jobs} of {_name(batch)} will be cancelled; go on?", is_sure=is_sure)
    batch = api.call("v1_batch_cancel", batch_id=batch_id).document
    print_change(batch, f"{_name(batch)} cancelled; {_state(batch)}", as_json=as_json)


@batches_group.command("retry", example="batches retry 01KPGR5B1WD4T0S9XK2M7C8Q3N")
@_batch_id
@json_option("the number of jobs, and the batch,")
def retry_command(*, batch_id: str, as_json: bool) -> None:
    """Run the dead jobs of a batch again; those that died with them wait again."""
    retried = local_api().call("v1_batch_retry", batch_id=batch_id).document
    jobs, batch = count(retried["changed"], "job"), retried["batch"]
    text = f"{jobs} of {_name(batch)} retried; {_state(batch)}"
    print_change(retried, text, as_json=as_json)


@batches_group.command("delete", example="batches delete 01KPGR5B1WD4T0S9XK2M7C8Q3N")
@_batch_id
@yes_option
def delete_command(*, batch_id: str, is_sure: bool) -> None:
    """Delete a batch that has ended, and its jobs."""
    api = local_api()
    batch = _read(api, batch_id)
    jobs = count(batch["total"], "job")
    confirm(f"{_name(batch)} with {jobs} will be deleted; go on?", is_sure=is_sure)
    api.call("v1_batch_delete", batch_id=batch_id)
    click.echo(f"{_name(batch)} deleted")


def _read(api: LocalApi, batch_id: str) -> Row:
    batch: Row = api.call("v1_batch", batch_id=batch_id).document
    return batch


def _name(batch: Row) -> str:
    return f"batch {one_line(batch['id'])} ({one_line(batch['name'])})"


def _state(batch: Row) -> str:
    """Return its state with its counts: ``running, 3 of 5 jobs ended, 1 dead``."""
    unfinished = batch["waiting"] + batch["running"]
    ended = batch["total"] - unfinished
    jobs = count(batch["total"], "job")
    return f"{batch['state']}, {ended:,} of {jobs} ended, {batch['dead']:,} dead"
