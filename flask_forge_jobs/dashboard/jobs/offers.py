"""The bulk actions that a selection of jobs allows, and how many jobs each touches.

An action on everything that matches names only states that it applies to: a delete
leaves running jobs alone, although they match.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.jobs.listings import (
    DEAD,
    DONE,
    PENDING,
    RETRYING,
    RUNNING,
    parts_of,
)
from flask_forge_jobs.handlers.filters import SCHEDULED
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.ordering import StatusCounts

# A number above this one has to be typed.
MAX_UNTYPED = 100


@dataclass(frozen=True, slots=True)
class Verb:
    """An action as a button.

    ``is_hot`` marks an end of the jobs. ``endpoint`` is the API's route for one job,
    which then needs no question. ``effect`` tells alike actions apart.
    """

    action: JobAction
    label: str
    statuses: frozenset[str]
    permission: Permission = Permission.JOBS_RETRY
    is_hot: bool = False
    endpoint: str | None = None
    icon: str | None = None
    effect: str = ""


VERBS: Mapping[str, Verb] = {
    str(verb.action): verb
    for verb in (
        Verb(
            JobAction.RETRY,
            "Retry",
            frozenset((RETRYING, DEAD)),
            endpoint="v1_job_retry",
            icon="retries",
            effect="Starts when a slot is free, and may fail as often as a new job.",
        ),
        Verb(
            JobAction.RUN_NOW,
            "Run now",
            frozenset((SCHEDULED, RETRYING)),
            endpoint="v1_jobs_run_now",
            icon="running",
            effect="Starts when a slot is free, with the tries that are left.",
        ),
        Verb(
            JobAction.RESCHEDULE,
            "Reschedule",
            frozenset((PENDING, SCHEDULED, RETRYING)),
            icon="scheduled",
        ),
        Verb(
            JobAction.CANCEL,
            "Cancel",
            frozenset((PENDING, SCHEDULED, RUNNING, RETRYING)),
            Permission.JOBS_DELETE,
            is_hot=True,
            icon="close",
        ),
        Verb(
            JobAction.DELETE,
            "Delete",
            frozenset((PENDING, SCHEDULED, RETRYING, DEAD, DONE)),
            Permission.JOBS_DELETE,
            is_hot=True,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Offer:
    """An action on everything that matches.

    ``statuses`` are the words of the filter to send; none leaves them out. ``number``
    is how many of the matching jobs it touches, ``others`` how many it leaves alone.
    """

    verb: Verb
    statuses: tuple[str, ...]
    number: int
    others: int

    @property
    def needs_typing(self) -> bool:
        """Whether the operator types the number."""
        is_wide = self.verb.action is JobAction.DELETE and len(self.statuses) != 1
        return self.number > MAX_UNTYPED or is_wide


def number_of(word: str, counts: StatusCounts) -> int | None:
    """Return how many jobs a tab has; ``pending`` without the scheduled ones.

    None means that the number is unknown.
    """
    if word == SCHEDULED:
        return counts.scheduled
    number: int = getattr(counts, word)
    if word != PENDING:
        return number
    return None if counts.scheduled is None else number - counts.scheduled


def offers(
    chosen: tuple[str, ...], counts: StatusCounts, may: Collection[Permission]
) -> Sequence[Offer]:
    """Return the actions on everything that matches, those without a job left out.

    ``chosen`` are the states of the filter, ``counts`` the matching jobs in these.
    """
    made = [
        _offer(verb, chosen, counts)
        for verb in VERBS.values()
        if verb.permission in may
    ]
    return [offer for offer in made if offer is not None and offer.number]


def _offer(verb: Verb, chosen: tuple[str, ...], counts: StatusCounts) -> Offer | None:
    parts = parts_of(chosen)
    kept = [word for word in parts if word in verb.statuses]
    if len(kept) == len(parts):
        return Offer(verb, chosen, counts.total, 0)
    if PENDING in kept:
        kept.remove(SCHEDULED)  # they are pending, too
    numbers = [
        counts.pending if word == PENDING else number_of(word, counts) for word in kept
    ]
    if not kept or None in numbers:
        return None
    number = sum(each for each in numbers if each is not None)
    return Offer(verb, tuple(kept), number, counts.total - number)
