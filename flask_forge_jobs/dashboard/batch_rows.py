"""A batch in words and numbers: its state, the parts of its bar, what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from werkzeug.utils import cached_property

from flask_forge_jobs.handlers.batches import BatchRecord
from flask_forge_jobs.model.batches import Batch, BatchState
from flask_forge_jobs.model.jobs import WAITING, JobStatus
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.sentences import Sentence, count

# State of the badge, colour and icon of the sentence.
_TONES: Mapping[BatchState, tuple[str, str, str]] = {
    BatchState.OPEN: ("scheduled", "violet", "scheduled"),
    BatchState.RUNNING: ("running", "blue", "running"),
    BatchState.CANCELLING: ("cancelled", "ink", "close"),
    BatchState.DONE: ("done", "green", "done"),
    BatchState.DEAD: ("dead", "red", "dead"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """Jobs of a batch in one state; ``statuses`` are those of their list."""

    word: str
    count: int
    colour: str
    statuses: Sequence[str] = ()


def _counted(*parts: Part) -> list[str]:
    return [f"{part.count:,} {part.word.lower()}" for part in parts if part.count]


class BatchRow:
    """A batch for a template; ``need`` says why it cannot end."""

    def __init__(self, record: BatchRecord, need: Sentence | None = None) -> None:
        self.record = record
        self.need = need
        self.batch: Batch = record.batch
        self.id = record.batch.id

    @property
    def name(self) -> str:
        """Its name on one line, without characters that would reorder the text."""
        return one_line(self.record.name)

    @property
    def badge(self) -> str:
        """The state for its badge."""
        if self.is_empty:
            return "empty"
        return "pending" if self.waits else _TONES[self.batch.state][0]

    @property
    def word(self) -> str:
        """Its state in a word."""
        if self.is_empty:
            return "Empty"
        return "Waiting" if self.waits else self.batch.state.value.capitalize()

    @property
    def is_empty(self) -> bool:
        """Whether it ended without a job, which is no success."""
        return self.batch.state is BatchState.DONE and not self.batch.total

    @property
    def waits(self) -> bool:
        """Whether it has all its jobs and has not ended, but none is in progress."""
        return self.batch.state is BatchState.RUNNING and not self.batch.running

    @property
    def tone(self) -> tuple[str, str]:
        """Colour and icon of its sentence; of one that stands, those of a warning."""
        if self.stands:
            return "amber", "warn"
        if self.is_empty:
            return "ink", "unknown"
        return ("ink", "pending") if self.waits else _TONES[self.batch.state][1:]

    @property
    def stands(self) -> bool:
        """Whether it cannot end by itself."""
        return self.need is not None and not self.batch.has_ended

    @cached_property
    def parts(self) -> Sequence[Part]:
        """Its jobs by state, in the order of the bar."""
        batch = self.batch
        return (
            Part("Done", batch.done, "green", (JobStatus.DONE.value,)),
            Part("Dead", batch.dead, "red", (JobStatus.DEAD.value,)),
            Part("In progress", batch.running, "blue", (JobStatus.IN_PROGRESS.value,)),
            Part(
                "Waiting",
                batch.waiting,
                "violet",
                tuple(map(str, WAITING)),
            ),
            Part("Removed", batch.removed, "ink"),
        )

    @property
    def bar(self) -> Sequence[tuple[int, str]]:
        """The parts of the bar; what waits is its empty rest."""
        return [
            (part.count, part.colour) for part in self.parts if part.word != "Waiting"
        ]

    @property
    def ended(self) -> str:
        """What its progress counts: ``done``, or ``ended`` where a job ended otherwise.

        A share and a count with different words would look like an error.
        """
        return "ended" if self.batch.dead or self.batch.removed else "done"

    @cached_property
    def words(self) -> str:
        """Its jobs by state, in words: those that have ended first, as its progress."""
        batch = self.batch
        if not batch.total:
            return "no jobs"
        _, dead, running, waiting, removed = self.parts
        ended = f"{batch.total - batch.unfinished:,} of {batch.total:,} {self.ended}"
        if among := _counted(dead, removed):
            ended += f" ({', '.join(among)})"
        return ", ".join([ended, *_counted(running, waiting)])

    @property
    def sentence(self) -> str:
        """What it does, or how it ended; its first part is a fact."""
        batch = self.batch
        if self.need is not None and self.stands:
            subject = f"Batch {self.id} ({self.need.evidence.get('name')}) "
            text = self.need.text
            return f"It {text.removeprefix(subject)}" if subject in text else text
        if batch.state is BatchState.DONE:
            return self._done
        if batch.state is BatchState.DEAD:
            jobs = count(batch.dead, "job is", "jobs are")
            return f"It ended, and {jobs} dead. A retry lets it go on."
        if batch.state is BatchState.CANCELLING:
            jobs = count(batch.unfinished, "job has", "jobs have")
            return f"It is being cancelled: {jobs} not ended."
        runs = f"{count(batch.running, 'job is', 'jobs are')} in progress"
        begin = runs if batch.running else "No job is in progress"
        dead = f", {count(batch.dead, 'is', 'are')} dead" if batch.dead else ""
        waits = count(batch.waiting, "waits", "wait")
        text = f"{begin}, {waits}{dead}."
        if batch.state is BatchState.OPEN:
            return f"It is open: its producer may still add jobs. {text}"
        return text

    @property
    def _done(self) -> str:
        batch = self.batch
        if not batch.total:
            return "It had no jobs, so it ended at once."
        if batch.removed:
            return f"It is done: {self.words}."
        return f"It is done, with {count(batch.total, 'job')}."
