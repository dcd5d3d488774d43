from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from flask_forge_jobs.cli.errors import fails_clearly
from flask_forge_jobs.errors import ConfigurationError, StorageUnavailableError


def command_that(error: BaseException | None) -> click.Command:
    @click.command()
    @fails_clearly
    def command() -> None:
        if error is not None:
            raise error
        click.echo("fine")

    return command


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigurationError("KEY", "is wrong"), 78),
        (StorageUnavailableError("out of reach"), 1),
    ],
)
def test_our_errors_become_one_line(error: Exception, status: int) -> None:
    result = CliRunner().invoke(command_that(error))

    assert result.exit_code == status
    assert result.stderr == f"Error: {error}\n"
    assert result.stdout == ""


def test_other_errors_keep_their_traceback() -> None:
    error = ZeroDivisionError("a bug")

    result = CliRunner().invoke(command_that(error))

    assert result.exception is error


def test_what_succeeds_is_left_alone() -> None:
    result = CliRunner().invoke(command_that(None))

    assert (result.exit_code, result.stdout) == (0, "fine\n")


def test_the_name_and_the_help_stay() -> None:
    def work() -> None:
        """Do it."""

    wrapped = fails_clearly(work)

    assert (wrapped.__name__, wrapped.__doc__) == ("work", "Do it.")
