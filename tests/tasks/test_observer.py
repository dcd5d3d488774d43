from __future__ import annotations

from unittest.mock import Mock

from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.runtime.run.observer import NOBODY
from flask_forge_jobs.tasks.context import TaskContext


def test_nobody_runs_the_task_and_returns_its_outcome(context: TaskContext) -> None:
    task = Mock(run=Mock(return_value=Done("1")))
    job = Mock(payload="{}")

    assert NOBODY.run(task, context, job) == Done("1")
    task.run.assert_called_once_with(context, "{}")
