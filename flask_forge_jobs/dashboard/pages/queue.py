"""One queue: why it does not run, its charts, its settings and its slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from flask import request
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.etags import settings_etag
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.charts import jobs
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.dashboard.parameters import Parameters
from flask_forge_jobs.dashboard.queue_question import Question
from flask_forge_jobs.dashboard.queue_reads import PACE_KEPT_S, all_queues, rates_of
from flask_forge_jobs.dashboard.queue_rows import QueueRow, QueueState, queue_rows
from flask_forge_jobs.dashboard.reads import Part, Reads, needed_by, report_of
from flask_forge_jobs.errors import QueueNotFoundError
from flask_forge_jobs.handlers.explain import explain_queue_facts
from flask_forge_jobs.handlers.queue_rates import NO_RATES, QueueRates
from flask_forge_jobs.handlers.snapshots import KEPT_S
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.model.workers import Slot

_MAX_SLOTS = 200
_NAMES_KEPT_S = 30.0
_PACE = "pace"
# Which reads each block shows.
BLOCKS: Mapping[str, Sequence[str]] = {
    "headline": ("sentence", _PACE),
    "tiles": (),
    "throughput": ("timeline",),
    "wait_time": ("timeline",),
    "run_time": ("timeline",),
    "settings": (),
    "slots": ("workers",),
}


class QueueInFull(jobs.TimelineFigures):
    """One queue with everything that its page shows.

    Raises:
        QueueNotFoundError: No queue has this name.
    """

    def __init__(self, api: Api, name: str) -> None:
        super().__init__(api)
        self.name = name
        listed = all_queues(api)
        overview = next((each for each in listed if each.settings.name == name), None)
        if overview is None:
            raise QueueNotFoundError(name)
        self._overview = overview

        key = "queue", name, *self.range.key, api.scope.queues
        # With the queues and the report of the frame, a refresh asks three times.
        parts, needed = self._parts(), needed_by(BLOCKS)
        if needed:
            needed -= self._unread
        self._reads = Reads(api.snapshots, key, parts, needed, max_renewed=1)

    @property
    def _unread(self) -> set[str]:
        """The parts that blocks show at other times, which would be due for ever."""
        pace = set() if self._may_be_stalled else {_PACE}
        return pace if self._overview.slots else pace | {"workers"}

    def _parts(self) -> Mapping[str, Part]:
        api, row = self._api, self.row

        def explain() -> Sentence:
            return explain_queue_facts(
                api.storage,
                row.settings,
                self._overview.counts,
                row.due_since,
                api.scope.queues,
                behind_s=api.options.behind_s,
            )

        def names() -> Mapping[str, str | None]:
            known = api.storage.worker_reader.known()
            return {each.worker_id: each.worker_name for each in known}

        def pace() -> QueueRates:
            return rates_of(api, [self.name])[self.name]

        return {
            "sentence": Part(explain, KEPT_S),
            "timeline": self._timeline_part([self.name]),
            "workers": Part(names, _NAMES_KEPT_S),
            _PACE: Part(pace, PACE_KEPT_S),
        }

    @cached_property
    def row(self) -> QueueRow:
        """Its settings and counts."""
        return self._row_with(NO_RATES)

    def _row_with(self, rates: QueueRates) -> QueueRow:
        api, known = self._api, {self.name: rates}
        [row] = queue_rows([self._overview], known, api.now, api.options.behind_s)
        return row

    @cached_property
    def slots(self) -> Sequence[tuple[Slot, str]]:
        """The slots of its live workers, the busy ones first, and the workers' names.

        At most 200.
        """
        slots = sorted(self._overview.slots, key=lambda slot: not slot.current_job_id)
        names: Mapping[str, str | None] = self._reads["workers"] if slots else {}
        return [
            (slot, words.worker(slot.worker_id, names.get(slot.worker_id)))
            for slot in slots[:_MAX_SLOTS]
        ]

    @property
    def free(self) -> str:
        """The state of a slot without a job: other queues may have all threads."""
        evidence = report_of(self._api).summary.evidence
        busy = cast("int", evidence.get("running", 0))
        slots = cast("int", evidence.get("capacity", 0))
        return "busy with another queue" if 0 < slots <= busy else "idle"

    @property
    def sentence(self) -> Sentence:
        """Whether its jobs run, and if not, why."""
        return cast("Sentence", self._reads["sentence"])

    @property
    def state(self) -> QueueState:
        """Its state as in lists; its pace, another read, is for one that is still."""
        if not self._may_be_stalled:
            return self.row.state
        return self._row_with(self._reads[_PACE]).state

    @property
    def _may_be_stalled(self) -> bool:
        return self.row.state is QueueState.LIVE and self.row.is_still


def queue(api: Api, name: str) -> Mapping[str, object]:
    """Show one queue."""
    parameters = Parameters(request)
    shown = QueueInFull(api, name)
    return {
        "shown": shown,
        "question": Question(api, parameters, lambda: [shown.row]),
        "etag": settings_etag(shown.row.settings),
        "query": {**parameters.kept, **shown.query},
    }


ROUTES = (
    page(
        "/queues/<name>", queue, reach=Reach.QUEUE, noun="Queue",
        blocks=tuple(BLOCKS),
    ),
)  # fmt: skip
