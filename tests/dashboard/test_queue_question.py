from __future__ import annotations

from datetime import UTC, datetime

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.dashboard.parameters import Parameters
from flask_forge_jobs.dashboard.queue_question import Question
from flask_forge_jobs.dashboard.queue_rows import queue_rows
from flask_forge_jobs.handlers.queue_rates import QueueRates
from flask_forge_jobs.model.queues import QueueCounts, QueueOverview, QueueSettings
from tests.dashboard.sites import UNASKED

ROWS = queue_rows(
    [QueueOverview(QueueSettings("mail"), QueueCounts(), (), 0)],
    {"mail": QueueRates([0] * 12, 0.0)},
    datetime(2026, 11, 30, tzinfo=UTC),
)


def question(query: str) -> Question:
    """Return the dialog of a request."""
    environ = EnvironBuilder(query_string=query).get_environ()
    api = Api(UNASKED, BlueprintOptions(), ())
    return Question(api, Parameters(Request(environ)), lambda: ROWS)


@pytest.mark.parametrize("verb", ["pause", "cool_down", "remove", "cleanup"])
def test_a_dialog_about_one_queue_needs_that_queue(verb: str) -> None:
    asked = question(f"ask={verb}&queue=mail")

    assert asked.verb == verb
    assert asked.row is ROWS[0]
    assert question(f"ask={verb}&queue=none").verb is None
    assert question(f"ask={verb}").verb == ("cleanup" if verb == "cleanup" else None)


@pytest.mark.parametrize("verb", ["new", "pause_all", "resume_all", "cleanup"])
def test_a_dialog_about_all_needs_none(verb: str) -> None:
    assert question(f"ask={verb}").verb == verb


@pytest.mark.parametrize("query", ["", "ask=nonsense", "queue=mail"])
def test_nothing_asked_is_no_dialog(query: str) -> None:
    assert question(query).verb is None
