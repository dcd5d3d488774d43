"""The dialogs of the pages of queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard.parameters import Parameters
from flask_forge_jobs.dashboard.queue_rows import QueueRow
from flask_forge_jobs.handlers.queues import cleanup
from flask_forge_jobs.model.queues import CleanupReport

# About one queue, and about all; a cleanup is about either.
_ASKS = ("pause", "cool_down", "remove")
_ASKS_OF_ALL = ("new", "pause_all", "resume_all", "cleanup")


class Question:
    """The dialog that the address asks for, about one queue or all; or none."""

    def __init__(
        self, api: Api, parameters: Parameters, rows: Callable[[], Sequence[QueueRow]]
    ) -> None:
        self._api = api
        self._rows = rows
        self._name = parameters.text("queue")
        asked = parameters.one_of("ask", (*_ASKS, *_ASKS_OF_ALL))
        is_of_all = asked in _ASKS_OF_ALL and not self._name
        self.verb = asked if is_of_all or self.row is not None else None

    @property
    def is_of_every_queue(self) -> bool:
        """Whether the caller has all queues, those that are not there yet as well."""
        return self._api.scope.queues is None

    @property
    def all_queues(self) -> str:
        """The queues that an action on all changes."""
        return "every queue" if self.is_of_every_queue else "all of your queues"

    @property
    def may_clean_up(self) -> bool:
        """Whether it is about one queue, or the caller has all or only one."""
        queues = self._api.scope.queues
        return self.row is not None or queues is None or len(queues) == 1

    @cached_property
    def row(self) -> QueueRow | None:
        """The queue in question."""
        if not self._name:
            return None
        return next((row for row in self._rows() if row.name == self._name), None)

    @property
    def expired(self) -> CleanupReport:
        """The finished jobs that a cleanup would delete."""
        queue_name = self._api.scope.one(None if self.row is None else self.row.name)
        return cleanup(self._api.storage, queue_name=queue_name, dry_run=True)
