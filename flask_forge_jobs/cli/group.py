"""The ``flask forge-jobs`` group.

It is an entry point of the ``flask`` program, which therefore finds it before it loads
an application: one that does not load for a wrong setting is then reported by us. Every
``flask`` command imports it, so each command below is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module

import click

# Module and name of each command.
_COMMANDS = {
    "audit": ("audit", "audit_group"),
    "db": ("database", "db_group"),
    "token": ("token", "token_group"),
    "worker": ("worker", "worker_command"),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in order."""
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None when there is none of the name."""
        if cmd_name in _COMMANDS and cmd_name not in self.commands:
            module, name = _COMMANDS[cmd_name]
            found = import_module(f"flask_forge_jobs.cli.{module}")
            self.add_command(getattr(found, name), cmd_name)
        return super().get_command(ctx, cmd_name)


@click.group("forge-jobs", cls=LazyGroup)
def forge_jobs_group() -> None:
    """Run and look after background jobs."""
