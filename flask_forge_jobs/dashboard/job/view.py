"""What the page of a job shows; each part is read or made when a block asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.job.earlier import Earlier, earlier_runs
from flask_forge_jobs.dashboard.job.failures import Failures, failures_of
from flask_forge_jobs.dashboard.job.json_search import Places, places_of
from flask_forge_jobs.dashboard.job.json_view import MAX_VALUES, JsonView, json_view
from flask_forge_jobs.dashboard.job.log_view import MAX_LINES, Level, LogView, log_view
from flask_forge_jobs.dashboard.job.progress_view import ProgressView, progress_view
from flask_forge_jobs.dashboard.job.ties_view import TiesView, ties_view
from flask_forge_jobs.dashboard.job.timeline import Timeline, timeline
from flask_forge_jobs.dashboard.jobs.offers import VERBS
from flask_forge_jobs.dashboard.shown_pages import ShownPage, page_of
from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.handlers import jobs as job_handlers
from flask_forge_jobs.handlers.job_in_full import JobInFull, job_in_full
from flask_forge_jobs.handlers.log_lines import last_lines
from flask_forge_jobs.model.attempts import Attempt, AttemptEnding
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import (
    UNSUCCESSFUL,
    WAITING,
    JobFilter,
    JobStatus,
    JobSummary,
)
from flask_forge_jobs.model.ordering import StatusCounts
from flask_forge_jobs.model.run_logs import StoredLine
from flask_forge_jobs.model.sentences import Action, count

MAX_RELATED = 5
# What may be done to a job, by its state; a running one is never deleted.
CANCEL, DELETE, RESCHEDULE = QUESTIONS = ("cancel", "delete", "reschedule")
_VERBS: Mapping[JobStatus, Sequence[str]] = {
    JobStatus.PENDING: (RESCHEDULE, CANCEL, DELETE),
    JobStatus.FAILED: (RESCHEDULE, CANCEL, DELETE),
    JobStatus.IN_PROGRESS: (CANCEL,),
    JobStatus.DONE: (DELETE,),
    JobStatus.DEAD: (DELETE,),
}
_JOB = "/v1/jobs/"
# Explanations of a wait that ends at the time of the job.
_PASSING = frozenset((
    "backs_off", "concurrency_limited", "job_throttled", "rate_limited", "scheduled",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """What the address asks for: a run, lines of a level, a question, and a text.

    The text to ``find`` is one of the payload. ``after`` is the place of the last log
    line that an open page has.

    ``is_refresh`` says that it asks for a part of an open page again, which may be a
    second old, and never for the payload.
    """

    run: int | None = None
    level: Level = Level.ALL
    question: str | None = None
    is_refresh: bool = False
    find: str = ""
    after: str | None = None

    @property
    def max_values(self) -> int | None:
        """How many values of a large payload are needed; None means all."""
        if self.is_refresh:
            return 0
        return None if self.find else MAX_VALUES


@dataclass(frozen=True, slots=True)
class Related:
    """Other jobs with the same error, and how many there are."""

    rows: Sequence[JobSummary]
    counts: StatusCounts


class JobView:
    """One job; raises JobNotFoundError if the caller may not know of it."""

    def __init__(self, api: Api, job_id: str, choice: Choice) -> None:
        self._api = api
        self.choice = choice
        queues = api.scope.queues

        def read() -> JobInFull:
            return job_in_full(
                api.storage,
                job_id,
                redactor=api.redactor,
                queues=queues,
                max_values=choice.max_values,
            )

        if choice.is_refresh:
            key = ("job", job_id, queues)
            self._full = api.snapshots.get(key, read)
        else:
            self._full = read()
        self.record = self._full.record
        self.row = self.record.row
        self.id = self.row.id

    # -- what it is ----------------------------------------------------------------

    @property
    def is_later(self) -> bool:
        """Whether its time has yet to come."""
        return self.row.scheduled_at > self._api.now

    @property
    def state(self) -> str:
        """The state for its badge."""
        if self.row.ending is Ending.CANCELLED:
            return "cancelled"
        if self.row.status is JobStatus.PENDING and self.is_later:
            return "scheduled"
        return self.row.status.value

    @property
    def waits_for_jobs(self) -> bool:
        """Whether it waits for other jobs."""
        is_pending = self.row.status is JobStatus.PENDING
        return is_pending and self.row.start_at is not None

    @property
    def is_stopping(self) -> bool:
        """Whether it runs although a user has asked it to stop."""
        is_running = self.row.status is JobStatus.IN_PROGRESS
        return is_running and self.row.cancel_requested_at is not None

    @cached_property
    def why(self) -> str:
        """Its explanation; it is the subject."""
        text = self._full.why.text
        subject = f"Job {self.id} "
        if not text.startswith(subject):
            return text
        rest = text.removeprefix(subject)
        return f"it {rest}" if self.lead else f"It {rest}"

    @property
    def ran(self) -> tuple[str, str] | None:
        """Of a running job, the words around its age, which ticks; else None."""
        if self._full.why.code != "running":
            return None
        before, mark, rest = self.why.partition(" has run for ")
        return before + mark, " on worker " + rest.partition(" on worker ")[2]

    @property
    def is_held(self) -> bool:
        """Whether it would not start at its time, as things are."""
        return self._full.why.code not in _PASSING

    @property
    def lead(self) -> str:
        """What the explanation begins with."""
        return "Not running:" if self.row.status in WAITING else ""

    # -- what may be done ----------------------------------------------------------

    @property
    def action(self) -> Action | None:
        """The one request that helps, unless it only shows something."""
        action = self._full.why.action
        if action is None or action.method == "GET" or self._is_own(action):
            return None
        return action

    @property
    def shows(self) -> ShownPage | None:
        """The page of an action that shows something."""
        action = self._full.why.action
        return None if action is None else page_of(action)

    @property
    def acts(self) -> Sequence[Action]:
        """Requests that need no question, the first one as the main button."""
        actions = []
        if self.row.status in WAITING and self.is_later and not self.waits_for_jobs:
            actions.append(Action("POST", f"{_JOB}run-now/{self.id}", "Run now"))
        if self.row.status in UNSUCCESSFUL:
            label = "Retry with all tries" if actions else "Retry"
            actions.append(Action("POST", f"{_JOB}{self.id}/retry", label))
            if self.ties.dead_with_it and self._api.scope.queues is None:
                path = f"{_JOB}{self.id}/retry?dependents=1"
                jobs = count(self.ties.dead_with_it, "dependent")
                actions.append(Action("POST", path, f"Retry with {jobs}"))
            if self.record.step_count or self.record.checkpoint:
                path = f"{_JOB}{self.id}/retry?restart=1"
                actions.append(Action("POST", path, "Retry from the start"))
        return actions

    @property
    def effects(self) -> Mapping[str, str]:
        """Sentences about requests that look alike, by their label."""
        return {verb.label: verb.effect for verb in VERBS.values()}

    @property
    def verbs(self) -> Sequence[str]:
        """What is asked about before it is done."""
        return () if self.is_stopping else _VERBS[self.row.status]

    @property
    def question(self) -> str | None:
        """The question that the address asks, if it fits the job."""
        question = self.choice.question
        return question if question in self.verbs else None

    def _is_own(self, action: Action) -> bool:
        return action.label in {each.label for each in self.acts}

    # -- what happened -------------------------------------------------------------

    @cached_property
    def timeline(self) -> Timeline | None:
        """Its attempts, drawn."""
        return timeline(
            self.row,
            self.record.attempts,
            self._api.now,
            self._expected,
            waits=self.waits_for_jobs,
            has_waited=bool(self.record.parents),
        )

    @cached_property
    def ties(self) -> TiesView:
        """The jobs for which it waits, and those that wait for it."""
        return ties_view(self.record)

    @property
    def _expected(self) -> timedelta | None:
        """How long the run under way takes in all, as far as anything is known."""
        started = self.row.started_at
        if self.row.status is not JobStatus.IN_PROGRESS or started is None:
            return None
        progress = self.progress
        if progress is not None and progress.rest is not None:
            return self._api.now - started + progress.rest
        usual_s = self._full.why.evidence.get("usual_run_seconds")
        return timedelta(seconds=usual_s) if isinstance(usual_s, float) else None

    @cached_property
    def progress(self) -> ProgressView | None:
        """Its last report of progress."""
        text = self.row.progress
        return None if text is None else progress_view(text)

    @property
    def shown_steps(self) -> int:
        """How many of its steps are shown."""
        return sum(len(each.steps) for each in self.record.attempts)

    @cached_property
    def failures(self) -> Failures | None:
        """Its failures, that of the chosen run open."""
        return failures_of(self.record, self.choice.run)

    @cached_property
    def log(self) -> LogView:
        """The last lines of the chosen run, or of the newest with lines."""
        run = self.choice.run

        def read() -> Sequence[StoredLine]:
            api = self._api
            return last_lines(api.storage, self.id, run=run, limit=MAX_LINES).lines

        try:
            if self.choice.is_refresh:
                # Who may not see the job has not come so far.
                lines = self._api.snapshots.get(("job_log", self.id, run), read)
            else:
                lines = read()
        except JobNotFoundError:
            lines = ()  # deleted since the job was read
        return log_view(lines, self.choice.level, self.choice.after)

    @property
    def place(self) -> str | None:
        """Where the run of the log ran: worker and slot."""
        for attempt in self.record.attempts:
            if attempt.run == self.log.run:
                if attempt.worker_id is None:
                    return None
                name = words.worker(attempt.worker_id, attempt.worker_name)
                return name if attempt.slot is None else f"{name}, slot {attempt.slot}"
        return None

    @property
    def running_on(self) -> Attempt | None:
        """The attempt under way, which knows its worker."""
        for attempt in reversed(self.record.attempts):
            if attempt.ending is AttemptEnding.RUNNING and attempt.worker_id:
                return attempt
        return None

    # -- what it holds -------------------------------------------------------------

    @cached_property
    def payload(self) -> JsonView:
        """Its payload."""
        return json_view(self.record.payload, self.record.payload_bytes)

    @cached_property
    def places(self) -> Places | None:
        """Where the text is in the payload; None without a text."""
        find = self.choice.find
        return places_of(find, self.record.payload) if find else None

    @cached_property
    def result(self) -> JsonView | None:
        """What its task returned; None where nothing is kept."""
        if self.row.status is not JobStatus.DONE or self.record.result is None:
            return None
        return json_view(self.record.result)

    @cached_property
    def related(self) -> Related | None:
        """Others with the same error; None if it has not failed."""
        signature = self.row.signature
        if signature is None:
            return None
        chosen = JobFilter(signature=signature)
        rows = self._find(chosen, MAX_RELATED + 1)
        others = [row for row in rows if row.id != self.id][:MAX_RELATED]
        limited = self._api.scope.limit(chosen)
        return Related(others, job_handlers.count_jobs(self._api.storage, limited))

    @cached_property
    def earlier(self) -> Earlier | None:
        """Earlier runs of its schedule, key or kind."""
        return earlier_runs(self.row, self.row.schedule_name, self._find)

    def _find(self, chosen: JobFilter, limit: int) -> Sequence[JobSummary]:
        """Return the newest jobs of the caller's queues."""
        listing = job_handlers.find_jobs(
            self._api.storage,
            self._api.scope.limit(chosen),
            limit=limit,
            redactor=self._api.redactor,
        )
        return listing.rows
