from __future__ import annotations

import errno

import click
import pytest
from click.testing import CliRunner

from flask_forge_jobs.cli.errors import fails_clearly
from flask_forge_jobs.cli.show_config import show_config_command
from flask_forge_jobs.errors import ConfigurationError, StorageUnavailableError
from tests.support.streams import FullDisk

# As threading says it.
NO_THREAD = "can't start new thread"


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


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(NO_THREAD)])
def test_a_system_without_room_is_one_line(error: Exception) -> None:
    result = CliRunner().invoke(command_that(error))

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the system gives this process no more")


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("a bug"),
        RuntimeError("a bug"),
        OSError(errno.ENOSPC, "a file of a bug"),
    ],
)
def test_other_errors_keep_their_traceback(error: Exception) -> None:
    result = CliRunner().invoke(command_that(error))

    assert result.exception is error


def test_output_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout", FullDisk())

    with pytest.raises(SystemExit) as end:
        command_that(None)([])

    assert end.value.code == 1
    assert (
        capsys.readouterr().err == "Error: standard output: No space left on device\n"
    )


def test_a_command_without_an_application_ends_as_clearly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout", FullDisk())

    with pytest.raises(SystemExit) as end:
        show_config_command(["procfile"])

    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("Error: standard output: ")


def test_what_succeeds_is_left_alone() -> None:
    result = CliRunner().invoke(command_that(None))

    assert (result.exit_code, result.stdout) == (0, "fine\n")


def test_the_name_and_the_help_stay() -> None:
    def work() -> None:
        """Do it."""

    wrapped = fails_clearly(work)

    assert (wrapped.__name__, wrapped.__doc__) == ("work", "Do it.")
