from __future__ import annotations

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


def test_group_holds_the_worker_and_the_database() -> None:
    assert {"worker", "db"} <= set(forge_jobs_group.commands)
