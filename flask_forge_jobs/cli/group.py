"""The ``flask forge-jobs`` group.

It is an entry point of ``flask``, so it runs before the application loads and can
report a wrong setting. Every ``flask`` command imports this module, so it imports each
of its own commands only when that is called.
"""

from __future__ import annotations

import click

_COMMANDS = (
    "audit", "db", "enqueue", "explain", "logs", "queue", "status", "token", "worker",
    "workers",
)  # fmt: skip


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the sorted names of the commands."""
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name, or None."""
        command: click.Command
        match cmd_name:
            case "audit":
                from flask_forge_jobs.cli.audit import audit_group as command
            case "db":
                from flask_forge_jobs.cli.database import db_group as command
            case "enqueue":
                from flask_forge_jobs.cli.enqueue import enqueue_command as command
            case "explain":
                from flask_forge_jobs.cli.explain import explain_command as command
            case "logs":
                from flask_forge_jobs.cli.log_lines import logs_command as command
            case "queue":
                from flask_forge_jobs.cli.queue import queue_group as command
            case "status":
                from flask_forge_jobs.cli.status import status_command as command
            case "token":
                from flask_forge_jobs.cli.token import token_group as command
            case "worker":
                from flask_forge_jobs.cli.worker import worker_command as command
            case "workers":
                from flask_forge_jobs.cli.workers import workers_command as command
            case _:
                return super().get_command(ctx, cmd_name)
        return command


@click.group("forge-jobs", cls=LazyGroup)
def forge_jobs_group() -> None:
    """Run and manage background jobs."""
