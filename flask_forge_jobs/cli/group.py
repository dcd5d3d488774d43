"""The ``flask forge-jobs`` group.

It is an entry point of ``flask``, so it runs before the application loads and can
report a wrong setting. Every ``flask`` command imports this module, so it imports each
of its own commands only when that is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click


def _audit() -> click.Command:
    from flask_forge_jobs.cli.audit import audit_group

    return audit_group


def _db() -> click.Command:
    from flask_forge_jobs.cli.database import db_group

    return db_group


def _enqueue() -> click.Command:
    from flask_forge_jobs.cli.enqueue import enqueue_command

    return enqueue_command


def _token() -> click.Command:
    from flask_forge_jobs.cli.token import token_group

    return token_group


def _worker() -> click.Command:
    from flask_forge_jobs.cli.worker import worker_command

    return worker_command


_COMMANDS: Mapping[str, Callable[[], click.Command]] = {
    "audit": _audit,
    "db": _db,
    "enqueue": _enqueue,
    "token": _token,
    "worker": _worker,
}


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the sorted names of the commands."""
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name, or None."""
        imported = _COMMANDS.get(cmd_name)
        return super().get_command(ctx, cmd_name) if imported is None else imported()


@click.group("forge-jobs", cls=LazyGroup)
def forge_jobs_group() -> None:
    """Run and manage background jobs."""
