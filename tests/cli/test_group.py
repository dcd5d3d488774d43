from __future__ import annotations

import click
import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.cli.group import forge_jobs_group


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
        "audit", "db", "enqueue", "explain", "logs", "queue", "status", "token",
        "worker", "workers",
    ]  # fmt: skip
    assert [each.name for each in found if each is not None] == names
    assert forge_jobs_group.get_command(context, "nowhere") is None
