"""Turns errors of a command into one line and an exit status."""

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
# From sysexits.h; tell a service manager not to restart on this status.
EX_CONFIG = 78


class WrongSetting(click.ClickException):
    """A setting is wrong, so trying again does not help."""

    exit_code = EX_CONFIG


def fails_clearly(command: Callable[P, R]) -> Callable[P, R]:
    """Report a ForgeJobsError in one line; exit with 78 for a wrong setting, else 1."""

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
    """Run a command in the application's context, and fail clearly.

    This includes loading the application: ``flask`` would answer a wrong setting with a
    traceback.
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
