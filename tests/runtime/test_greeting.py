from __future__ import annotations

import logging

import pytest

from flask_forge_jobs import __version__
from flask_forge_jobs.runtime.greeting import greet
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import Storage
from tests.support.runtimes import QuickTask, add, registry_of

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


def said(storage: Storage, caplog: pytest.LogCaptureFixture) -> list[str]:
    runtime = QueueRuntime(storage, registry_of(QuickTask())).with_queues(["default"])
    with caplog.at_level(logging.INFO, "flask_forge_jobs.runtime.greeting"):
        greet(runtime.plan)
    return [record.getMessage() for record in caplog.records]


def test_a_worker_names_its_version_and_its_tasks(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    add(storage, "quick")

    assert said(storage, caplog) == [f"flask-forge-jobs {__version__}, tasks: quick"]


def test_a_worker_names_what_waits_for_nobody(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    add(storage, "other")
    add(storage, "far", queue="mail")
    storage.queues.ensure("my bills")
    storage.queues.ensure("served")
    storage.workers.beat("H", None, ["served"], [])

    assert said(storage, caplog)[1:] == [
        "queue default has jobs without a task: other",
        (
            "no worker serves these queues: mail, my bills; start one with "
            "`flask forge-jobs worker --queues 'mail,my bills'`"
        ),
    ]


@pytest.mark.parametrize("several", ["mail default", "mail;default", "mail | default"])
def test_a_worker_doubts_a_new_queue_that_may_be_several(
    several: str, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """RQ takes ``mail default`` as two queues."""
    for names in ([several, "bulk"], [several]):
        runtime = QueueRuntime(storage, registry_of(QuickTask())).with_queues(names)
        runtime.start().shutdown_graceful(0.0)

    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warnings[0] == (
        f"made the queue {several}; to serve several, separate them by commas: "
        "mail,default"
    )
    assert [line.partition(";")[0] for line in warnings[1:]] == [
        "no worker serves these queues: bulk"
    ]
