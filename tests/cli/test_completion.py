from __future__ import annotations

import click
import pytest
from flask.cli import ScriptInfo

from flask_forge_jobs.cli import completion
from flask_forge_jobs.cli.completion import Complete
from tests.cli.console import Console
from tests.support.jobs import enqueue

COMMAND = click.Command("x")
OPTION = click.Argument(["name"])


def completed(console: Console, complete: Complete, typed: str = "") -> list[str]:
    info = ScriptInfo(create_app=lambda: console.app)
    return complete(click.Context(COMMAND, obj=info), OPTION, typed)


def test_names_and_ids_that_begin_as_typed(console: Console) -> None:
    job_id = enqueue(console.storage, "send_mail", queue_name="mail")
    console.storage.queues.ensure("bank")
    console.text("cron", "create", "nightly", "--kind", "noop", "--cron", "0 3 * * *")
    console.text("limits", "set", "card", "--capacity", "5", "--refill", "1")

    assert completed(console, completion.queue_names) == ["bank", "mail"]
    assert completed(console, completion.queue_names, "m") == ["mail"]
    assert completed(console, completion.kind_names, "send") == ["send_mail"]
    assert completed(console, completion.schedule_names) == ["nightly"]
    assert completed(console, completion.limit_scopes) == ["card"]
    assert completed(console, completion.job_ids, job_id[:5]) == [job_id]
    assert completed(console, completion.job_ids, "no") == []


def test_an_application_that_fails_completes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise RuntimeError("no database")

    info = ScriptInfo(create_app=fail)  # type: ignore[arg-type]
    context = click.Context(COMMAND, obj=info)

    assert completion.queue_names(context, OPTION, "") == []
    assert capsys.readouterr() == ("", "")


def test_a_shell_is_offered_the_names(console: Console) -> None:
    console.storage.queues.ensure("mail")

    result = console.app.test_cli_runner().invoke(
        args=[],
        env={
            "_FLASK_COMPLETE": "bash_complete",
            "COMP_WORDS": "flask forge-jobs queues show m",
            "COMP_CWORD": "4",
        },
        prog_name="flask",
    )

    assert result.output == "plain,mail\n"
