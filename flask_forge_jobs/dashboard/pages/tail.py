"""The tail: the latest events of jobs, the newest on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask import request
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.dashboard.parameters import Parameters
from flask_forge_jobs.dashboard.reads import read_beside_report
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.activity import list_events
from flask_forge_jobs.model.activity import Event, EventType
from flask_forge_jobs.model.jobs import JobFilter

MAX_LINES = 140


class Tail:
    """The events that match; ``types`` are those to choose from."""

    types = tuple(EventType)

    def __init__(self, api: Api, parameters: Parameters) -> None:
        self._api = api
        self.queue = parameters.text("queue_name")
        self.kind = parameters.text("kind")
        self.type = parameters.one_of("type", list(EventType))

    @cached_property
    def events(self) -> Sequence[Event]:
        """The latest events, the newest first; at most 140."""
        key = ("tail", self.queue, self.kind, self.type, self._api.scope.queues)
        return self._api.snapshots.get(key, self._read)

    def _read(self) -> Sequence[Event]:
        api = self._api
        if self.queue and not api.scope.allows(self.queue):
            return ()
        job_filter = JobFilter(
            queues=(self.queue,) if self.queue else None,
            kinds=(self.kind,) if self.kind else (),
        )
        types = () if self.type is None else (self.type,)
        try:
            page = list_events(
                api.storage,
                api.scope.limit(job_filter),
                after=None,
                types=types,
                limit=MAX_LINES,
            )
        except InvalidInputError:
            return ()  # no job has such a name
        return tuple(reversed(page.events))

    @property
    def is_cut(self) -> bool:
        """Whether older events may be left out."""
        return len(self.events) == MAX_LINES


def tail(api: Api) -> Mapping[str, object]:
    """Show the latest events."""
    parameters = Parameters(request)
    shown = Tail(api, parameters)
    read_beside_report(api, lambda: shown.events)
    return {"tail": shown, "query": parameters.kept}


ROUTES = (
    page(
        "/tail", tail, reach=Reach.VIEW, blocks=("events",),
        nav="Tail", icon="tail", order=41, key="t",
    ),
)  # fmt: skip
