"""``flask forge-jobs queue``: pause and resume queues, begin and end cool-downs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from flask_forge_jobs.cli.audit import actor
from flask_forge_jobs.cli.errors import within_application
from flask_forge_jobs.handlers import audit, queues
from flask_forge_jobs.model.queues import ChangeNote
from flask_forge_jobs.model.sentences import count
from flask_forge_jobs.state import current

_Command = Callable[..., None]


@click.group("queue")
def queue_group() -> None:
    """Pause and resume queues, begin and end cool-downs."""


def _on_queues(command: _Command) -> _Command:
    """Add the arguments that all commands take."""
    command = click.option("--reason", help="Kept and shown; secrets are masked.")(
        within_application(command)
    )
    command = click.option(
        "--all", "is_all", is_flag=True, help="All queues instead of names."
    )(command)
    return click.argument("names", nargs=-1, metavar="[QUEUE]...")(command)


@queue_group.command()
@_on_queues
def pause(**options: Any) -> None:
    """Pause queues: running jobs end, no other one starts."""
    _act("pause", **options)


@queue_group.command()
@_on_queues
def resume(**options: Any) -> None:
    """Resume paused queues."""
    _act("resume", **options)


@queue_group.command("cool-down")
@click.option("--for", "seconds", required=True, type=int, help="Seconds, 1 to 86400.")
@_on_queues
def cool_down(**options: Any) -> None:
    """Let queues give out no jobs for some time."""
    _act("cool_down", **options)


@queue_group.command("end-cool-down")
@_on_queues
def end_cool_down(**options: Any) -> None:
    """End the cool-downs of queues now."""
    _act("end_cooldown", **options)


def _act(
    action: str,
    *,
    names: tuple[str, ...],
    is_all: bool,
    reason: str | None,
    seconds: int | None = None,
) -> None:
    if is_all is bool(names):
        raise click.UsageError("name queues, or use --all")
    arguments = {"queues": list(names) or None, "seconds": seconds, "reason": reason}
    author = actor()
    changed = audit.record_command(
        current().storage,
        f"queue_{action}",
        {key: value for key, value in arguments.items() if value is not None},
        lambda stores: queues.act(
            stores,
            action,
            list(names) or None,
            seconds=seconds,
            note=ChangeNote(author, reason),
        ),
        actor=author,
    )
    click.echo(f"{action}: {count(changed, 'queue')} changed")
