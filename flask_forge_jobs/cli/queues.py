"""``flask forge-jobs queues``: list, show, create, change and delete queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from flask_forge_jobs.cli.completion import queue_names
from flask_forge_jobs.cli.errors import AppGroup
from flask_forge_jobs.cli.facts import print_facts
from flask_forge_jobs.cli.local_api import given, local_api
from flask_forge_jobs.cli.output import (
    confirm,
    json_option,
    options,
    print_change,
    print_json,
    print_rows,
    yes_option,
)
from flask_forge_jobs.cli.tables import Column, Row, brief, since
from flask_forge_jobs.model.jobs import UNFINISHED
from flask_forge_jobs.model.sentences import count

_reason = click.option("--reason", help="Kept and shown; secrets are masked.")


@click.group("queues", cls=AppGroup)
def queues_group() -> None:
    """List, show, create, change and delete queues."""


def _state(queue: Row) -> str:
    if queue["paused"]:
        return "paused"
    until = queue["throttled_until"]
    in_future = until is not None and since(until).startswith("in ")
    return "cools down" if in_future else "open"


def _oldest(queue: Row) -> str:
    age_s = queue["oldest_pending_age_seconds"]
    return brief(age_s) if age_s else "-"


def _counted(state: str) -> Callable[[Row], int]:
    return lambda queue: int(queue["counts"][state])


COLUMNS = (
    Column("QUEUE", "name", is_elastic=True),
    Column("STATE", _state),
    Column("PENDING", _counted("pending"), is_number=True),
    Column("SCHEDULED", _counted("scheduled"), is_number=True),
    Column("RUNNING", _counted("in_progress"), is_number=True),
    Column("FAILED", _counted("failed"), is_number=True),
    Column("DEAD", _counted("dead"), is_number=True),
    Column("OLDEST", _oldest, is_number=True),
    Column("SLOTS", "max_workers", is_number=True),
)


@queues_group.command("list", example="queues list")
@json_option("each queue")
def list_command(*, as_json: bool) -> None:
    """List the queues with the number of their jobs in each state."""
    queues = local_api().call("v1_queues").document
    print_rows(
        COLUMNS,
        queues,
        "there is no queue yet; the first job or worker makes one",
        as_json=as_json,
    )


@queues_group.command("show", example="queues show mail")
@click.argument("name", metavar="QUEUE", shell_complete=queue_names)
@json_option("the queue")
def show_command(*, name: str, as_json: bool) -> None:
    """Show a queue: its jobs, settings, pause and cool-down."""
    queue = local_api().call("v1_queue", name=name).document
    if as_json:
        print_json(queue)
    else:
        print_facts(f"queue {name}", _flat(queue))


def _flat(queue: Row) -> dict[str, object]:
    facts = {**queue, "slots": len(queue["slots"]), **queue["counts"]}
    return {key: facts[key] for key in facts if key not in ("name", "counts")}


_settings = options(
    click.option("--max-workers", type=int, help="Slots in the whole cluster."),
    click.option(
        "--max-pending", type=int, help="Most jobs that may wait; 0 means any number."
    ),
    click.option("--retain-done-days", type=int, help="Days that done jobs stay."),
    click.option("--retain-dead-days", type=int, help="Days that dead jobs stay."),
    click.option(
        "--backoff/--no-backoff",
        "backoff_enabled",
        default=None,
        help="Whether the queue's own retry delays come before those of tasks.",
    ),
    click.option(
        "--backoff-base-seconds",
        type=int,
        help="Half of the first retry delay; each next one is twice the last.",
    ),
    click.option("--backoff-max-seconds", type=int, help="Longest retry delay."),
)


def _body(settings: dict[str, Any]) -> dict[str, Any]:
    body = given(**settings)
    if body.get("max_pending") == 0:
        body["max_pending"] = None
    return body


@queues_group.command("create", example="queues create mail --max-workers 4")
@click.argument("name", metavar="QUEUE")
@json_option("the queue")
@_settings
def create_command(*, name: str, as_json: bool, **settings: Any) -> None:
    """Create a queue, before its first job does."""
    queue = local_api().call("v1_create_queue", body={"name": name, **_body(settings)})
    print_change(queue.document, f"queue {name} created", as_json=as_json)


@queues_group.command("set", example="queues set mail --max-workers 4")
@click.argument("name", metavar="QUEUE", shell_complete=queue_names)
@json_option("the queue")
@_settings
def set_command(*, name: str, as_json: bool, **settings: Any) -> None:
    """Change settings of a queue; the others stay."""
    body = _body(settings)
    if not body:
        raise click.UsageError("give an option to change, such as --max-workers")
    queue = local_api().call("v1_change_queue", body=body, name=name).document
    print_change(queue, f"queue {name} changed", as_json=as_json)


@queues_group.command("delete", example="queues delete old")
@click.argument("name", metavar="QUEUE", shell_complete=queue_names)
@click.option("--force", is_flag=True, help="Also delete its unfinished jobs.")
@yes_option
def delete_command(*, name: str, force: bool, is_sure: bool) -> None:
    """Delete a queue; its finished jobs stay, until their retention is over."""
    api = local_api()
    counts = api.call("v1_queue", name=name).document["counts"]
    number = sum(counts[status] for status in UNFINISHED)
    confirm(
        f"queue {name} with {count(number, 'unfinished job')} will be deleted; go on?",
        is_sure=is_sure,
    )
    query = {"force": "true" if force else None}
    headers = api.call("v1_delete_queue", query=query, name=name).headers
    deleted, asked = (
        int(headers[key]) for key in ("X-Jobs-Deleted", "X-Jobs-Cancel-Requested")
    )
    click.echo(
        f"queue {name} deleted with {count(deleted, 'job')}; "
        f"{count(asked, 'running job')} asked to stop"
    )


def _on_queues(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments of the commands that act on several queues."""
    named = click.argument(
        "names", nargs=-1, metavar="[QUEUE]...", shell_complete=queue_names
    )
    every = click.option("--all", "is_all", is_flag=True, help="All queues.")
    return named(every(_reason(command)))


@queues_group.command("pause", example="queues pause mail --reason deploy")
@_on_queues
def pause_command(**chosen: Any) -> None:
    """Pause queues: running jobs end, no other one starts."""
    _act("pause", "paused", **chosen)


@queues_group.command("resume", example="queues resume --all")
@_on_queues
def resume_command(**chosen: Any) -> None:
    """Resume paused queues."""
    _act("resume", "resumed", **chosen)


@queues_group.command("cool-down", example="queues cool-down mail --for 600")
@click.option("--for", "seconds", required=True, type=int, help="Seconds, 1 to 86400.")
@_on_queues
def cool_down_command(**chosen: Any) -> None:
    """Let queues give out no jobs for some time."""
    _act("cool_down", "cooling down", **chosen)


@queues_group.command("end-cool-down", example="queues end-cool-down mail")
@_on_queues
def end_cool_down_command(**chosen: Any) -> None:
    """End the cool-downs of queues now."""
    _act("end_cooldown", "open again", **chosen)


def _act(
    action: str,
    done: str,
    *,
    names: Sequence[str],
    is_all: bool,
    reason: str | None,
    seconds: int | None = None,
) -> None:
    if is_all is bool(names):
        raise click.UsageError("name queues, or use --all")
    body = given(action=action, queues=tuple(names), seconds=seconds, reason=reason)
    changed = local_api().call("v1_queue_actions", body=body).document["changed"]
    click.echo(f"{count(changed, 'queue')} {done}")
