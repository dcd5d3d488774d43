"""The ``flask forge-jobs`` group.

It is an entry point of ``flask``, so it runs before the application loads and can
report a wrong setting. Every ``flask`` command imports this module, so it imports each
of its own commands only when that is called.
"""

from __future__ import annotations

import click
from werkzeug.utils import import_string

_COMMANDS = {
    "audit": "audit:audit_group",
    "db": "database:db_group",
    "enqueue": "enqueue:enqueue_command",
    "token": "token:token_group",
    "worker": "worker:worker_command",
}


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the sorted names of the commands."""
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name, or None."""
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        command: click.Command = import_string(f"flask_forge_jobs.cli.{place}")
        return command


@click.group("forge-jobs", cls=LazyGroup)
def forge_jobs_group() -> None:
    """Run and manage background jobs."""
