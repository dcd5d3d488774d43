from __future__ import annotations

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.config.variables import ignored_variables


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "FORGE_JOBS_POOL_SIZE",
            [
                "FORGE_JOBS_POOL_SIZE is set in the environment, but not in app.config",
                "from_prefixed_env()",
                "name it FLASK_FORGE_JOBS_POOL_SIZE",
            ],
        ),
        (
            "FLASK_FORGE_JOBS_POOL_SIZE",
            ["but app.config has no FORGE_JOBS_POOL_SIZE", "before ForgeJobs"],
        ),
        ("FORGE_JOB_LEASE_S", ["no effect; did you mean 'FLASK_FORGE_JOBS_LEASE_S'"]),
        ("FORGE_JOBS_POOLSIZE", ["did you mean 'FORGE_JOBS_POOL_SIZE'"]),
        (
            "FORGE_JOBS_RATE_LIMITS__write",
            [
                "app.config has no FORGE_JOBS_RATE_LIMITS,",
                "FLASK_FORGE_JOBS_RATE_LIMITS__write",
            ],
        ),
    ],
)
def test_a_variable_that_does_nothing_is_yielded_with_advice(
    name: str, parts: list[str]
) -> None:
    ((found, message),) = ignored_variables({"SECRET_KEY": "x"}, {name: "hunter2"})

    assert found == name
    assert "hunter2" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FORGE_JOBS_LEASE_S", "5"),
        ("FLASK_FORGE_JOBS_LEASE_S", "5"),
        ("FLASK_FORGE_JOBS_RATE_LIMITS__write", "1/second"),
        ("FORGE_JOBS_SERVICE_HOST", "10.0.0.1"),
        ("FORGE_JOBS_LOG_LEVEL", "INFO"),
        ("FORGE_QUEUES", "mail"),
        ("FLASK_DEBUG", "1"),
    ],
)
def test_any_other_variable_is_left_alone(name: str, value: str) -> None:
    config = {"FORGE_JOBS_LEASE_S": 7, "FORGE_JOBS_RATE_LIMITS": {}}

    assert list(ignored_variables(config, {name: value})) == []


@pytest.mark.parametrize(
    ("environ", "warnings"),
    [
        ({}, 1),
        ({"WERKZEUG_RUN_MAIN": "true"}, 0),  # the reloader's parent has warned
        ({"FORGE_JOBS_CHILD": "1"}, 0),
        ({"FORGE_JOBS_PARENT_PIPE": "7"}, 0),  # of forge-jobs-server --demo
    ],
)
def test_an_application_warns_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    environ: dict[str, str],
    warnings: int,
) -> None:
    for name, value in ({"FORGE_JOBS_LEASE_S": "5"} | environ).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("flask_forge_jobs.config.variables._warned", set())

    ForgeJobs(Flask("shop"))
    ForgeJobs(Flask("shop"))

    assert sum("FORGE_JOBS_LEASE_S" in each for each in caplog.messages) == warnings
