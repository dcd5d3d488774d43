"""``flask forge-jobs cron``: list, show, create, change and trigger schedules."""

from __future__ import annotations

import json
from typing import Any

import click

from flask_forge_jobs.cli.completion import schedule_names
from flask_forge_jobs.cli.errors import AppGroup
from flask_forge_jobs.cli.facts import instant, print_facts
from flask_forge_jobs.cli.local_api import given, local_api
from flask_forge_jobs.cli.output import (
    confirm,
    json_option,
    limit_option,
    options,
    print_change,
    print_json,
    print_rows,
    yes_option,
)
from flask_forge_jobs.cli.tables import (
    NO_VALUE,
    Column,
    Row,
    ago,
    print_table,
    since,
    span,
)

MAX_NEXT = 100


@click.group("cron", cls=AppGroup)
def cron_group() -> None:
    """List, show, create, change and trigger schedules."""


def _last(schedule: Row) -> str:
    run = schedule["last_run"]
    return NO_VALUE if run is None else f"{run['status']} {since(run['enqueued_at'])}"


_COLUMNS = (
    Column("SCHEDULE", "name", is_elastic=True),
    Column("CRON", "cron_expr"),
    Column("ZONE", "timezone", is_elastic=True),
    Column("KIND", "kind", is_elastic=True),
    Column("QUEUE", "queue_name", is_elastic=True),
    Column("ENABLED", "enabled"),
    Column("NEXT", ago("next_fire_at")),
    Column("LAST RUN", _last),
)
_RUNS = (
    Column("FIRED", lambda run: instant(run["fire_at"] or run["enqueued_at"])),
    Column("STATUS", "status"),
    Column("RAN", span("run_ms"), is_number=True),
    Column("TRIES", "attempts", is_number=True),
    Column("JOB", "job_id"),
    Column("ERROR", "error", is_elastic=True),
)


@cron_group.command("list", example="cron list")
@json_option("each schedule")
def list_command(*, as_json: bool) -> None:
    """List the schedules with their next firing and last run."""
    schedules = local_api().call("v1_cron_list").document
    print_rows(
        _COLUMNS,
        schedules,
        "there is no schedule; a worker stores those of @forge.cron when it starts, "
        "and `cron create` makes others",
        as_json=as_json,
    )


@cron_group.command("show", example="cron show nightly")
@click.argument("name", metavar="SCHEDULE", shell_complete=schedule_names)
@json_option("the schedule")
def show_command(*, name: str, as_json: bool) -> None:
    """Show a schedule and its last runs."""
    api = local_api()
    schedule = api.call("v1_cron_get", name=name).document
    if as_json:
        print_json(schedule)
        return
    print_facts(f"schedule {name}", {k: schedule[k] for k in schedule if k != "name"})
    runs = api.call("v1_cron_runs", query={"limit": 10}, name=name).document["rows"]
    if runs:
        click.echo()
        print_table(_RUNS, runs)


@cron_group.command("runs", example="cron runs nightly")
@click.argument("name", metavar="SCHEDULE", shell_complete=schedule_names)
@limit_option(10_000, "Print at most this many runs.")
@json_option("each run")
def runs_command(*, name: str, limit: int, as_json: bool) -> None:
    """List the jobs that a schedule made, the newest first."""
    runs = list(local_api().rows("v1_cron_runs", limit=limit, name=name))
    print_rows(_RUNS, runs, "the schedule has made no job yet", as_json=as_json)


@cron_group.command("next", example="cron next '0 9 * * 1-5' --count 3")
@click.argument("expression", metavar="SCHEDULE|EXPRESSION")
@click.option("--timezone", help="IANA zone. Default: the schedule's, or UTC.")
@click.option(
    "--count",
    "number",
    type=click.IntRange(1, MAX_NEXT),
    default=5,
    show_default=True,
    help="How many.",
)
@json_option("them")
def next_command(
    *, expression: str, timezone: str | None, number: int, as_json: bool
) -> None:
    """Print the next firings of a schedule or of a cron expression."""
    api = local_api()
    if not (" " in expression.strip() or expression.startswith("@")):
        schedule = api.call("v1_cron_get", name=expression).document
        expression = schedule["cron_expr"]
        timezone = timezone or schedule["timezone"]
    body = given(cron_expr=expression, timezone=timezone, count=number)
    preview = api.call("v1_cron_preview", body=body).document
    if as_json:
        print_json(preview)
        return
    click.echo(preview["description"])
    for each in preview["next"]:
        click.echo(f"{each}  {since(each)}")


def _payload(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> object | None:
    try:
        return None if value is None else json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"is not JSON: {error}", ctx, param) from None


_fields = options(
    click.option("--kind", help="Kind of its jobs."),
    click.option("--cron", "cron_expr", help="Cron expression, such as '0 9 * * 1-5'."),
    click.option("--timezone", help="IANA zone, such as Europe/Berlin."),
    click.option("--payload", callback=_payload, help="JSON: the arguments by name."),
    click.option("--queue", "queue_name", help="Queue of its jobs."),
    click.option("--max-attempts", type=int, help="Attempts of each job."),
    click.option(
        "--dedupe/--no-dedupe",
        default=None,
        help="Skip a firing while the job of an earlier one is unfinished.",
    ),
    click.option("--catch-up", help="Missed firings: skip, once or all."),
    click.option("--catch-up-limit", type=int, help="Most missed firings to run."),
)


@cron_group.command(
    "create",
    context_settings={"allow_extra_args": True},
    example="cron create nightly --kind report --cron '0 3 * * *'",
)
@click.argument("name", metavar="SCHEDULE", shell_complete=schedule_names)
@json_option("the schedule")
@_fields
def create_command(*, name: str, as_json: bool, **fields: Any) -> None:
    """Create a schedule."""
    if extra := click.get_current_context().args:
        raise click.UsageError(
            f"Got unexpected extra argument {extra[0]!r}; kind and expression are "
            "options: --kind KIND --cron EXPRESSION."
        )
    for required in ("kind", "cron_expr"):
        if fields[required] is None:
            raise click.UsageError(f"--{required.removesuffix('_expr')} is required")
    created = local_api().call("v1_cron_create", body=given(name=name, **fields))
    print_change(created.document, f"schedule {name} created", as_json=as_json)


@cron_group.command("set", example="cron set nightly --cron '30 3 * * *'")
@click.argument("name", metavar="SCHEDULE", shell_complete=schedule_names)
@json_option("the schedule")
@_fields
def set_command(*, name: str, as_json: bool, **fields: Any) -> None:
    """Change fields of a schedule; the others stay."""
    body = given(**fields)
    if not body:
        raise click.UsageError("give an option to change, such as --cron")
    changed = local_api().call("v1_cron_change", body=body, name=name).document
    print_change(changed, f"schedule {name} changed", as_json=as_json)


_schedules = click.argument(
    "names",
    nargs=-1,
    required=True,
    metavar="SCHEDULE...",
    shell_complete=schedule_names,
)


@cron_group.command("enable", example="cron enable nightly")
@_schedules
def enable_command(*, names: tuple[str, ...]) -> None:
    """Let schedules fire again."""
    _enable(names, enabled=True)


@cron_group.command("disable", example="cron disable nightly")
@_schedules
def disable_command(*, names: tuple[str, ...]) -> None:
    """Let schedules fire no more until they are enabled."""
    _enable(names, enabled=False)


def _enable(names: tuple[str, ...], *, enabled: bool) -> None:
    api = local_api()
    for name in names:
        api.call("v1_cron_set_enabled", body={"enabled": enabled}, name=name)
        click.echo(f"schedule {name} {'enabled' if enabled else 'disabled'}")


@cron_group.command("trigger", example="cron trigger nightly")
@click.argument("name", metavar="SCHEDULE", shell_complete=schedule_names)
def trigger_command(*, name: str) -> None:
    """Enqueue the job of a schedule now, and print its id."""
    click.echo(local_api().call("v1_cron_trigger", name=name).document)


@cron_group.command("delete", example="cron delete nightly")
@click.argument("name", metavar="SCHEDULE", shell_complete=schedule_names)
@yes_option
def delete_command(*, name: str, is_sure: bool) -> None:
    """Delete a schedule; its jobs stay."""
    api = local_api()
    api.call("v1_cron_get", name=name)
    confirm(f"schedule {name} will be deleted; go on?", is_sure=is_sure)
    api.call("v1_cron_delete", name=name)
    click.echo(f"schedule {name} deleted")
