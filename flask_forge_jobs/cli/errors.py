"""Commands within the application, whose errors become a line and an exit status."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import click
from flask import current_app
from flask.cli import NoAppException, with_appcontext
from werkzeug.exceptions import HTTPException

from flask_forge_jobs.cli.group import WordyGroup, clear_output
from flask_forge_jobs.errors import ConfigurationError, ForgeJobsError, NotFoundError
from flask_forge_jobs.state import state_of

P = ParamSpec("P")
R = TypeVar("R")
# From sysexits.h; tell a service manager not to restart on this status.
EX_CONFIG = 78
_NO_THREAD = "can't start new thread"
_NO_ROOM = (
    "the system gives this process no more memory or threads; raise its limits, see "
    "`ulimit -v` and `ulimit -u`, or use fewer threads"
)
_CIRCULAR = """
The application and a module with tasks import each other. Put `forge = ForgeJobs()`
into a module of its own, such as extensions.py, let the tasks import it from there, and
call `forge.init_app(app)` where you make the application; import the tasks there."""


class WrongSetting(click.ClickException):
    """A setting is wrong, so trying again does not help."""

    exit_code = EX_CONFIG


def fails_clearly(command: Callable[P, R]) -> Callable[P, R]:
    """Report an error in one line; exit with 78 for a wrong setting, else 1."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with clear_output():
                return command(*args, **kwargs)
        except ForgeJobsError as error:
            is_setting = isinstance(error, ConfigurationError)
            failure = WrongSetting if is_setting else click.ClickException
            raise failure(str(error)) from error
        except HTTPException as error:
            raise click.ClickException(error.description or error.name) from error
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and str(error) != _NO_THREAD:
                raise
            raise click.ClickException(_NO_ROOM) from error

    return wrapper


def within_application(command: Callable[P, R]) -> Callable[P, R]:
    """Run a command in the application's context, and fail clearly.

    This includes loading the application: ``flask`` would answer a wrong setting with a
    traceback.
    """

    @with_appcontext
    @functools.wraps(command)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            state_of(current_app)
        except RuntimeError as error:
            raise click.UsageError(str(error)) from error
        try:
            return command(*args, **kwargs)
        except NotFoundError as error:
            # Imported with the first error, because it loads the API.
            from flask_forge_jobs.cli.missing import with_way_out

            raise click.ClickException(with_way_out(error)) from error

    @fails_clearly
    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return inner(*args, **kwargs)
        except NoAppException as error:
            if "partially initialized module" not in error.message:
                raise
            raise NoAppException(error.message + _CIRCULAR, error.ctx) from error

    return wrapper


class AppCommand(click.Command):
    """A command that runs :func:`within_application`; its help ends with an example."""

    def __init__(
        self, *, callback: Callable[..., Any], example: str, **attributes: Any
    ) -> None:
        super().__init__(
            callback=within_application(callback),
            epilog=f"Example: flask forge-jobs {example}",
            **attributes,
        )


class AppGroup(WordyGroup):
    """A group of such commands."""

    command_class = AppCommand
