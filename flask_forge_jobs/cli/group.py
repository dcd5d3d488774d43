"""The ``flask forge-jobs`` group.

It is an entry point of the ``flask`` program, which therefore finds it before it loads
an application: one that does not load for a wrong setting is then reported by us. Every
``flask`` command imports it, so each command below is imported when it is asked for.
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
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in order."""
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None when there is none of the name."""
        imported = _COMMANDS.get(cmd_name)
        return super().get_command(ctx, cmd_name) if imported is None else imported()


@click.group("forge-jobs", cls=LazyGroup)
def forge_jobs_group() -> None:
    """Run and look after background jobs."""
