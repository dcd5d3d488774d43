"""The ``flask forge-jobs`` group.

It is an entry point of ``flask``, so it runs before the application loads and can
report a wrong setting. Every ``flask`` command imports this module, so it imports each
of its own commands only when that is called.
"""

from __future__ import annotations

import contextlib
import errno
import os
import traceback
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import click

# The module below flask_forge_jobs.cli and the name in it.
_COMMANDS: Mapping[str, tuple[str, str]] = {
    "audit": ("audit", "audit_group"),
    "batches": ("batches", "batches_group"),
    "cleanup": ("cleanup", "cleanup_command"),
    "copy": ("copy", "copy_command"),
    "cron": ("cron", "cron_group"),
    "db": ("database", "db_group"),
    "doctor": ("doctor.command", "doctor_command"),
    "enqueue": ("enqueue", "enqueue_command"),
    "errors": ("failures", "errors_command"),
    "events": ("events", "events_command"),
    "explain": ("explain", "explain_command"),
    "jobs": ("jobs", "jobs_group"),
    "kinds": ("kinds", "kinds_command"),
    "limits": ("limits", "limits_group"),
    "loadgen": ("loadgen.command", "loadgen_command"),
    "logs": ("log_lines", "logs_command"),
    "openapi": ("openapi", "openapi_command"),
    "queues": ("queues", "queues_group"),
    "ready": ("ready", "ready_command"),
    "show-config": ("show_config", "show_config_command"),
    "status": ("status", "status_command"),
    "token": ("token", "token_group"),
    "worker": ("worker", "worker_command"),
    "workers": ("workers", "workers_command"),
}


@contextlib.contextmanager
def clear_output() -> Iterator[None]:
    """Report in one line that the output cannot be written, such as to a full disk."""
    try:
        yield
    except OSError as error:
        frames = traceback.walk_tb(error.__traceback__)
        is_of_echo = any(each.f_code is click.echo.__code__ for each, _ in frames)
        if error.errno == errno.EPIPE or not is_of_echo:
            raise
        raise click.ClickException(f"standard output: {error.strerror}") from error


class ProgramCommand(click.Command):
    """A command that says in one line that its help cannot be written."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Parse the arguments, which may print the help."""
        with clear_output():
            return super().make_context(*arguments, **options)


class WordyGroup(click.Group):
    """A group that answers the commands of other queues with its own."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command; an unknown one is refused with the word that we use."""
        from flask_forge_jobs.cli.other_words import WORDS

        name = args[0]
        word = WORDS.get(self.name or "", {}).get(name)
        if word is not None and self.get_command(ctx, name) is None:
            ctx.fail(f"No such command {name!r}. Did you mean {word!r}?")
        return super().resolve_command(ctx, args)


class LazyGroup(ProgramCommand, WordyGroup):
    """A group that imports a command when it is called."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, which may print its help or refuse an option."""
        with clear_output():
            try:
                return super().invoke(ctx)
            except click.NoSuchOption as error:
                name, where = error.option_name, error.ctx
                from flask_forge_jobs.cli.other_words import OPTIONS

                advice = OPTIONS.get(where.info_name or "", {}) if where else {}
                for text, names in advice.items():
                    if where and name in names.split():
                        where.fail(f"No such option {name!r}; {text}.")
                raise

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; refuse one of any command that is not text."""
        for each in args:
            try:
                each.encode()
            except UnicodeEncodeError:
                ctx.fail(f"The argument {ascii(os.fsencode(each))[1:]} is not UTF-8.")
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the sorted names of the commands."""
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name, or None."""
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, name = _COMMANDS[cmd_name]
        command: click.Command = getattr(
            import_module(f"flask_forge_jobs.cli.{module}"), name
        )
        return command


@click.group("forge-jobs", cls=LazyGroup)
@click.pass_context
def forge_jobs_group(ctx: click.Context) -> None:
    """Run and manage background jobs."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
