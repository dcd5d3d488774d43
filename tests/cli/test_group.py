from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.cli.other_words import WORDS
from flask_forge_jobs.server import main as server_command
from tests.support.streams import FullDisk


def test_init_app_adds_the_group() -> None:
    app = Flask("shop")

    ForgeJobs(app)

    assert app.cli.commands["forge-jobs"] is forge_jobs_group


@pytest.mark.parametrize("arguments", [[], ["db"], ["worker"]])
def test_every_command_has_help(arguments: list[str]) -> None:
    app = Flask("shop")
    ForgeJobs(app)

    result = app.test_cli_runner().invoke(args=["forge-jobs", *arguments, "--help"])

    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_a_command_is_found_by_its_name() -> None:
    context = click.Context(forge_jobs_group)
    names = forge_jobs_group.list_commands(context)

    found = [forge_jobs_group.get_command(context, name) for name in names]

    assert names == [
        "audit", "batches", "cleanup", "copy", "cron", "db", "doctor", "enqueue",
        "errors", "events", "explain",
        "jobs", "kinds", "limits", "loadgen", "logs", "openapi", "queues", "ready",
        "show-config", "status",
        "token", "worker", "workers",
    ]  # fmt: skip
    assert [each.name for each in found if each is not None] == names
    assert forge_jobs_group.get_command(context, "nowhere") is None


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["purge"], "jobs delete"),
        (["list"], "jobs list"),
        (["jobs", "requeue", "7"], "jobs retry"),
        (["queues", "purge", "mail"], "jobs delete --queue"),
        (["cron", "run", "nightly"], "cron trigger"),
        (["db", "upgrade"], "db migrate"),
        (["token", "create"], "token new"),
    ],
)
def test_a_habit_from_another_queue_gets_our_word(
    arguments: list[str], word: str
) -> None:
    result = CliRunner().invoke(forge_jobs_group, arguments)

    assert result.exit_code == 2
    assert f"Did you mean {word!r}?" in result.output


@pytest.mark.parametrize(("group", "words"), WORDS.items())
def test_each_word_is_a_command_and_replaces_none(
    group: str, words: dict[str, str]
) -> None:
    for name, word in words.items():
        path = [] if group == forge_jobs_group.name else [group]
        assert command_at([*path, name]) is None
        assert command_at([part for part in word.split() if part[0] != "-"])


def command_at(path: list[str]) -> click.Command | None:
    """Return the command that words name, or None."""
    found: click.Command | None = forge_jobs_group
    for name in path:
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), name)
    return found


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["-Q", "mail"], "'-Q'; write --queues, such as --queues mail,default."),
        (["-Qmail"], "'-Q'; write --queues, such as --queues mail,default."),
        (["-q", "mail"], "'-q'; write --queues mail,default, or --quiet."),
        (["--concurrency=4"], "'--concurrency'; write --threads, or --processes."),
        (["-c4"], "'-c'; write --threads, or --processes."),
        (["--pool", "solo"], "'--pool'; write --threads, or --processes."),
        (["-l", "info"], "'-l'; set up logging, or write --quiet."),
        (["-A", "shop"], "'-A'; write flask --app NAME forge-jobs worker."),
        (["mail", "low", "--burst"], "argument 'mail'; write --queues mail,low."),
        (["--workers", "4"], "'--workers'; write --threads, or --processes."),
        (["start"], "argument 'start'; leave it out."),
        (["stop"], "argument 'stop'; Ctrl-C or SIGTERM stops a worker."),
        (["--queues", "mail,", "low"], "argument 'low'; write --queues mail,low."),
    ],
)
def test_a_habit_from_another_worker_gets_our_option(
    arguments: list[str], advice: str
) -> None:
    result = CliRunner().invoke(forge_jobs_group, ["worker", *arguments])

    assert result.exit_code == 2
    assert result.output.endswith(f" {advice}\n")


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("--eta=2027-01-31", "write --run-at."),
        ("--countdown=5", "write --delay."),
        ("--kwargs={}", "write the arguments as JSON after the kind."),
    ],
)
def test_a_habit_of_enqueueing_gets_our_option(option: str, advice: str) -> None:
    result = CliRunner().invoke(forge_jobs_group, ["enqueue", "send", option])

    assert result.exit_code == 2
    assert result.output.endswith(f"; {advice}\n")


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["worker", "--queue", "x"], "--queues"),  # similar, which click finds
        (["kinds", "-Q", "x"], "-Q"),
    ],
)
def test_any_other_option_is_refused_by_click(
    arguments: list[str], refusal: str
) -> None:
    result = CliRunner().invoke(forge_jobs_group, arguments)

    assert result.exit_code == 2
    assert refusal in result.output
    assert "write" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["enqueue", "a\udcff"],
        ["enqueue", "send", '{"a": "a\udcff"}'],
        ["enqueue", "send", "--queue", "a\udcff"],
        ["jobs", "show", "a\udcff"],
        ["worker", "--queues=a\udcff"],
    ],
)
def test_an_argument_that_is_no_text_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(forge_jobs_group, arguments)

    assert result.exit_code == 2
    assert "a\\xff" in result.output
    assert result.output.endswith(" is not UTF-8.\n")


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (forge_jobs_group, ["--help"]),
        (forge_jobs_group, ["jobs", "--help"]),
        (forge_jobs_group, ["jobs", "list", "--help"]),
        (server_command, ["--help"]),
    ],
)
def test_help_that_cannot_be_written_is_one_line(
    program: click.Command,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdout", FullDisk())

    with pytest.raises(SystemExit) as end:
        program.main(arguments)

    assert end.value.code == 1
    assert capsys.readouterr().err.endswith(
        "Error: standard output: No space left on device\n"
    )


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with its path."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize(
    ("path", "command"),
    [pytest.param(*each, id=" ".join(each[0])) for each in commands(forge_jobs_group)],
)
def test_help_has_a_summary_and_an_example_that_parses(
    path: tuple[str, ...], command: click.Command
) -> None:
    prefix = "Example: flask forge-jobs "
    example = (command.epilog or "").removeprefix(prefix)

    assert example != command.epilog, "the example is the epilog"
    words = shlex.split(
        example.partition(" && ")[0].partition(" > ")[0].partition(" < ")[0]
    )
    assert tuple(words[: len(path)]) == path
    command.make_context(" ".join(path), words[len(path) :])
    assert command.help
    assert all(
        option.help for option in command.params if isinstance(option, click.Option)
    )
