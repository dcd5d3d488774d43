"""From our errors to one clear line and an exit status."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from flask_forge_jobs.errors import ConfigurationError, ForgeJobsError

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
