"""From our errors to one clear line and an exit status."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_forge_jobs.errors import ConfigurationError, ForgeJobsError
from flask_forge_jobs.state import state_of

P = ParamSpec("P")
R = TypeVar("R")
# As in sysexits.h; a service manager can be told not to start again.
EX_CONFIG = 78


class WrongSetting(click.ClickException):
    """A setting has to be changed before a new try makes sense."""

    exit_code = EX_CONFIG


def fails_clearly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an error of ours into one line on standard error and an exit status.

    The status is 78 (``EX_CONFIG``) for a wrong setting and 1 for anything else.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ForgeJobsError as error:
            is_setting = isinstance(error, ConfigurationError)
            failure = WrongSetting if is_setting else click.ClickException
            raise failure(str(error)) from error

    return wrapper


def within_application(command: Callable[P, R]) -> Callable[P, R]:
    """Load the application, run a command in its context, and fail clearly.

    Loading is part of it: an application whose settings are wrong does not load, and
    ``flask`` itself would show that as a traceback.
    """

    @fails_clearly
    @with_appcontext
    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            state_of(current_app)
        except RuntimeError as error:
            raise click.UsageError(str(error)) from error
        return command(*args, **kwargs)

    return wrapper
