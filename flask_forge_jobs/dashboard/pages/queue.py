"""One queue: why it does not run, its settings, its slots and its kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from flask import request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.etags import settings_etag
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.dashboard.parameters import Parameters
from flask_forge_jobs.dashboard.queue_question import Question
from flask_forge_jobs.dashboard.queue_reads import all_queues, rows_of
from flask_forge_jobs.dashboard.queue_rows import QueueRow
from flask_forge_jobs.errors import QueueNotFoundError
from flask_forge_jobs.handlers.explain import explain_queue_facts
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.model.workers import Slot


class QueueInFull:
    """One queue with everything that its page shows.

    Raises:
        QueueNotFoundError: No queue has this name.
    """

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self.name = name
        listed = all_queues(api)
        found = next((each for each in listed if each.settings.name == name), None)
        if found is None:
            raise QueueNotFoundError(name)
        self._overview = found

    @cached_property
    def row(self) -> QueueRow:
        """Its settings, counts and pace."""
        return rows_of(self._api, [self._overview])[0]

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots of its live workers, the busy ones first."""
        return sorted(self._overview.slots, key=lambda slot: not slot.current_job_id)

    @cached_property
    def sentence(self) -> Sentence:
        """Whether its jobs run, and if not, why."""
        row, api = self.row, self._api
        return api.snapshots.get(
            ("explain queue", self.name, api.scope.queues),
            lambda: explain_queue_facts(
                api.storage,
                row.settings,
                self._overview.counts,
                row.due_since,
                api.scope.queues,
            ),
        )


def queue(api: Api, name: str) -> Mapping[str, object]:
    """Show one queue."""
    parameters = Parameters(request)
    shown = QueueInFull(api, name)
    return {
        "shown": shown,
        "question": Question(api, parameters, lambda: [shown.row]),
        "etag": settings_etag(shown.row.settings),
        "query": parameters.kept,
    }


ROUTES = (
    page(
        "/queues/<name>", queue, reach=Reach.QUEUE,
        blocks=("headline", "tiles", "slots"),
    ),
)  # fmt: skip
