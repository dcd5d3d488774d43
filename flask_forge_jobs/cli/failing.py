"""From our errors to one clear line and an exit status."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from flask_forge_jobs.errors import ForgeJobsError

P = ParamSpec("P")
R = TypeVar("R")


def fails_clearly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an error of ours into one line on standard error and exit status 1."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ForgeJobsError as error:
            raise click.ClickException(str(error)) from error

    return wrapper
