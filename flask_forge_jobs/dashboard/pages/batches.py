"""Batches: how far each is, and of one, what stopped it and what its end sets off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Response, request
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import prefers_page
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.dashboard.batch_rows import BatchRow
from flask_forge_jobs.dashboard.job.json_view import JsonView, json_view
from flask_forge_jobs.dashboard.page import page, render
from flask_forge_jobs.dashboard.parameters import Parameters
from flask_forge_jobs.dashboard.reads import Part, Reads, is_refresh, kept_s, report_of
from flask_forge_jobs.dashboard.words import short_ids
from flask_forge_jobs.errors import BatchNotFoundError
from flask_forge_jobs.handlers.batches import (
    BatchRecord,
    inner_batches,
    list_batches,
    read_batch,
)
from flask_forge_jobs.handlers.cursors import Page, page_at
from flask_forge_jobs.model.batches import BatchEvent, Completion
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobStatus, JobSummary
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.sentences import Sentence, count
from flask_forge_jobs.model.signatures import signature

PAGE_SIZES = (10, 25, 50)
DEFAULT_PAGE_SIZE = 25
OPEN = "open"
QUESTIONS = ("cancel", "delete", "retry")
# Of the dead jobs, those that are read, and the errors that are shown.
MAX_DEAD, MAX_ERRORS = 200, 5
MAX_INNER = 20
# The queue of its first waiting job seldom changes.
_QUEUE_KEPT_S = 60.0
# A question about more is answered with their number.
MAX_UNTYPED = 100
_LONGEST_ID = 64
# Sentences about a queue that say why its jobs do not start.
_STOPS = frozenset({
    "queue_unserved", "queue_without_slots", "queue_paused", "queue_behind",
    "queue_cools_down",
})  # fmt: skip
_EVENTS: Mapping[BatchEvent, tuple[str, str]] = {
    BatchEvent.DEAD: ("At its first dead job", "died_at"),
    BatchEvent.FINISHED: ("At its first end", "finished_at"),
    BatchEvent.SUCCESS: ("On success", "succeeded_at"),
}


class BatchList:
    """One page of the batches that the caller may know."""

    def __init__(self, api: Api, parameters: Parameters) -> None:
        self._api = api
        self.is_open = parameters.one_of("state", (OPEN,)) is not None
        self.per = parameters.number("per", PAGE_SIZES, DEFAULT_PAGE_SIZE)
        self.cursor = parameters.text("cursor") or None

    @cached_property
    def page(self) -> Page[BatchRecord]:
        """The page of the list that the address asks for."""
        key = self.is_open, self.per, self.cursor, self._api.scope.queues
        return self._api.snapshots.get(("batches", *key), self._read, kept_s=kept_s())

    def _read(self) -> Page[BatchRecord]:
        return page_at(self._read_page, self.cursor)

    def _read_page(self, cursor: str | None) -> Page[BatchRecord]:
        return list_batches(
            self._api.storage,
            is_open=self.is_open,
            limit=self.per,
            cursor=cursor,
            redactor=self._api.masking_redactor,
            queues=self._api.scope.queues,
        )

    @cached_property
    def rows(self) -> Sequence[BatchRow]:
        """The batches of this page, the newest first."""
        needs = needs_of(self._api)
        return [
            BatchRow(record, needs.get(record.batch.id)) for record in self.page.rows
        ]

    @property
    def headline(self) -> str:
        """How many batches the page has, and how many of them have not ended."""
        rows = self.rows
        if not rows:
            if self.cursor:
                return "No more batches"
            state = "open" if self.is_open else "stored"
            if self._api.scope.queues is not None:
                return f"No batch of your queues is {state}"
            return f"No batch is {state}"
        standing = sum(row.stands for row in rows)
        waiting = sum(row.waits and not row.stands for row in rows)
        running = sum(not row.batch.has_ended for row in rows) - standing - waiting
        more = "the newest " if self.page.next_cursor and not self.cursor else ""
        batches = f"{more}{count(len(rows), 'batch', 'batches')}"
        if running == len(rows):
            return f"{batches} {'is' if running == 1 else 'are'} under way".capitalize()
        parts = [
            f"{running:,} under way" if running else "",
            f"{waiting:,} waiting" if waiting else "",
            f"{standing:,} cannot end" if standing else "",
        ]
        text = ", ".join(filter(None, parts)) or "all have ended"
        return f"{batches}: {text}".capitalize()


@dataclass(frozen=True, slots=True)
class Event:
    """The job of an event: ``at`` is when it was stored, None before.

    ``rest`` says whether it comes, if it is not stored.
    """

    words: str
    job: Completion
    at: object
    rest: str


@dataclass(frozen=True, slots=True)
class Stopper:
    """Dead jobs with one error; ``error`` is None if they were cancelled."""

    error: str | None
    count: int
    example: JobSummary


class BatchView:
    """One batch; raises BatchNotFoundError if the caller may not know of it."""

    def __init__(self, api: Api, batch_id: str) -> None:
        self._api = api
        self._kept_s = kept_s()
        queues = api.scope.queues

        def read() -> BatchRecord:
            return read_batch(
                api.storage, batch_id, redactor=api.masking_redactor, queues=queues
            )

        record = api.snapshots.get(
            ("batch", batch_id, queues), read, kept_s=self._kept_s
        )
        self.row = BatchRow(record, needs_of(api).get(batch_id))
        self.batch = record.batch
        self.id = record.batch.id

    @cached_property
    def data(self) -> JsonView:
        """Its data."""
        return json_view(self.row.record.data, len(self.batch.data.encode()))

    @cached_property
    def dead(self) -> Sequence[JobSummary]:
        """Its first dead jobs."""
        if not self.batch.dead:
            return ()
        return self._api.snapshots.get(
            ("dead of batch", self.id),
            lambda: self._read(JobStatus.DEAD, MAX_DEAD),
            kept_s=self._kept_s,
        )

    @cached_property
    def hint(self) -> str:
        """Why its first waiting job does not start, if that needs the caller.

        It is the fact of a sentence of the attention report about its queue or kind:
        the numbers behind it are of the whole queue.
        """
        if not self.row.waits or self.row.stands:
            return ""
        queue_kept_s = _QUEUE_KEPT_S if is_refresh() else 0.0
        part = Part(lambda: self._read(JobStatus.PENDING, 1), queue_kept_s)
        needed = ("first",) if is_refresh() else None
        # A refresh has its three reads without this one.
        read = Reads(
            self._api.snapshots,
            ("waiting of batch", self.id),
            {"first": part},
            needed,
            max_renewed=0,
        )
        report = report_of(self._api)
        about = (
            f"{short_ids(each.text).partition('. ')[0].rstrip('.')}."
            for each in report.sentences
            for job in read["first"]
            if _stops(each, job)
        )
        return next(about, "")

    def _read(self, status: JobStatus, limit: int) -> Sequence[JobSummary]:
        batches = self._api.storage.batches
        return batches.page_of_jobs(self.id, status=status, limit=limit)[0]

    @cached_property
    def stoppers(self) -> Sequence[Stopper]:
        """The dead jobs by error, the most frequent one first."""
        errors = {job: _error_of(job) for job in self.dead}
        counts = Counter(errors.values())
        examples = {error: job for job, error in reversed(errors.items())}
        return [
            Stopper(error, number, examples[error])
            for error, number in counts.most_common(MAX_ERRORS)
        ]

    @property
    def more_dead(self) -> int:
        """How many dead jobs the errors leave out, those of inner batches included."""
        shown = sum(each.count for each in self.stoppers)
        return max(self.batch.dead - shown, 0)

    @cached_property
    def inner(self) -> Sequence[BatchRow]:
        """The first batches within it."""

        def read() -> Sequence[BatchRecord]:
            api = self._api
            redactor = api.masking_redactor
            return inner_batches(
                api.storage, self.id, limit=MAX_INNER + 1, redactor=redactor
            )

        key = "inner batches", self.id
        records = self._api.snapshots.get(key, read, kept_s=self._kept_s)
        needs = needs_of(self._api)
        return [BatchRow(record, needs.get(record.batch.id)) for record in records]

    @property
    def events(self) -> Sequence[Event]:
        """The jobs that its events set off."""
        events = []
        for event, (words, field) in _EVENTS.items():
            job: Completion | None = getattr(self.batch, event.value)
            if job is not None:
                at, rest = getattr(self.batch, field), self._rest(event)
                events.append(Event(words, job, at, rest))
        return events

    def _rest(self, event: BatchEvent) -> str:
        if event is BatchEvent.SUCCESS and self.batch.dead:
            return "once no job is dead"
        is_over = self.batch.has_ended and not self.batch.dead
        return "no job died" if event is BatchEvent.DEAD and is_over else "to come"

    @property
    def verbs(self) -> Sequence[str]:
        """What may be asked about it."""
        batch = self.batch
        verbs = []
        if batch.dead:
            verbs.append("retry")
        if batch.has_ended:
            verbs.append("delete")
        elif batch.cancel_requested_at is None:
            verbs.append("cancel")
        return verbs

    @property
    def question(self) -> str | None:
        """The question that the address asks, if it fits the batch."""
        question = request.args.get("ask")
        return question if question in self.verbs else None

    @property
    def touched(self) -> int:
        """How many jobs the question is about."""
        counts = {
            "retry": self.batch.dead,
            "cancel": self.batch.unfinished,
            "delete": self.batch.total - self.batch.removed,
        }
        return counts[self.question] if self.question else 0

    @property
    def needs_typing(self) -> bool:
        """Whether the number is typed before so many jobs are changed."""
        return self.touched > MAX_UNTYPED


def needs_of(api: Api) -> Mapping[str, Sentence]:
    """Return what the attention report says of batches that cannot end, by id."""
    named = ((each, each.evidence.get("batch")) for each in report_of(api).sentences)
    return {batch_id: each for each, batch_id in named if isinstance(batch_id, str)}


def _stops(sentence: Sentence, job: JobSummary) -> bool:
    """Whether a sentence of the attention report says why a waiting job stays."""
    evidence = sentence.evidence
    if sentence.code == "no_worker":
        return True
    if evidence.get("queue") != job.queue_name:
        return False
    is_unknown = sentence.code == "kind_unknown" and evidence["kind"] == job.kind
    return sentence.code in _STOPS or is_unknown


def _error_of(job: JobSummary) -> str | None:
    is_cancelled = job.last_error is None or job.ending is Ending.CANCELLED
    return None if is_cancelled else signature(job.last_error or "")


def batches(api: Api) -> Mapping[str, object]:
    """Show the batches."""
    parameters = Parameters(request)
    return {"list": BatchList(api, parameters), "query": parameters.kept}


def batch(api: Api, batch_id: str) -> Mapping[str, object] | Response:
    """Show one batch; a missing one has a page with a way back."""
    try:
        view = BatchView(api, batch_id)
    except BatchNotFoundError:
        if not prefers_page(request):
            raise
        shown = {"batch_id": one_line(batch_id, _LONGEST_ID)}
        # An open page shows it in place of what it had.
        return render(api, "batch_missing", shown, 200 if is_refresh() else 404)
    return {
        "view": view, "max_untyped": MAX_UNTYPED, "max_inner": MAX_INNER, "query": {}
    }  # fmt: skip


ROUTES = (
    page(
        "/batches", batches, reach=Reach.VIEW, blocks=("headline", "list"),
        nav="Batches", icon="copy", order=16, key="b",
    ),
    page(
        "/batches/<batch_id>", batch, reach=Reach.VIEW, noun="Batch",
        blocks=("batch", "why", "states", "stoppers", "inner", "facts"),
    ),
)  # fmt: skip
