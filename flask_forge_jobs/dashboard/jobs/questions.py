"""The question before a bulk action: what it does, to how many jobs, and to which.

Its request has exactly the filter on the screen, and the number as ``expected``, so an
answer to an old page changes nothing if other jobs match by now.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.dashboard.jobs.conditions import in_words
from flask_forge_jobs.dashboard.jobs.listings import PENDING, STATUS_NAMES
from flask_forge_jobs.dashboard.jobs.offers import MAX_UNTYPED, Offer, Verb
from flask_forge_jobs.dashboard.jobs.query import SINGLE, JobQuery
from flask_forge_jobs.dashboard.jobs.rows import SHORT_ID
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.instants import format_instant
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.model.sentences import count

# A row is scheduled or waiting, where a filter has both.
_TICKED = {**STATUS_NAMES, PENDING: "Waiting"}
# Of a selection, so many ids are named.
_NAMED = 5
# More jobs than one request should act on.
MAX_AT_ONCE = 2000
# Parameters of the page, and the keys of the same parts in a request.
_KEYS = {"q": "payload_search"}


@dataclass(frozen=True, slots=True)
class Question:
    """A bulk action that waits for its confirmation.

    ``lines`` say which jobs, ``others`` how many of the selected ones stay as they are.
    ``body`` is the JSON of the request without ``expected`` and ``run_at``, which the
    form adds. A ``is_long`` one goes on in the background.
    """

    verb: Verb
    number: int
    others: int
    lines: Sequence[tuple[str, str]]
    needs_typing: bool
    body: Mapping[str, object]
    is_long: bool = False

    @property
    def text(self) -> str:
        """The JSON of the request."""
        return json.dumps(self.body, ensure_ascii=False)

    @property
    def answer(self) -> str:
        """The text of the button, with the number: ``Delete 1,501 jobs``."""
        jobs = count(self.number, "job")
        if self.verb.action is JobAction.RUN_NOW:
            return f"Run {jobs} now"
        return f"{self.verb.label} {jobs}"

    @property
    def title(self) -> str:
        """The question."""
        is_final = self.verb.action is JobAction.DELETE
        return f"{self.answer}{' for good' if is_final else ''}?"

    @property
    def needs_time(self) -> bool:
        """Whether the form asks for a new start."""
        return self.verb.action is JobAction.RESCHEDULE


def about_matching(offer: Offer, query: JobQuery, job_filter: JobFilter) -> Question:
    """Return the question about everything that matches.

    ``job_filter`` is the query's filter at the time of the page.
    """
    statuses = offer.statuses or query.chosen_statuses
    body: dict[str, object] = {"action": str(offer.verb.action)}
    conditions = _conditions(query, job_filter, offer.statuses)
    if conditions:
        body["filter"] = conditions
    else:
        body["all"] = True
    return Question(
        offer.verb,
        offer.number,
        offer.others,
        in_words(query, statuses),
        offer.needs_typing,
        body,
        is_long=offer.number > MAX_AT_ONCE,
    )


def _conditions(
    query: JobQuery, job_filter: JobFilter, statuses: Sequence[str]
) -> dict[str, object]:
    conditions: dict[str, object] = {}
    for name, values in (
        ("statuses", statuses), ("queues", query.queues), ("kinds", query.kinds)
    ):  # fmt: skip
        if values:
            conditions[name] = list(values)
    for name in query.single:
        value = getattr(job_filter, SINGLE[name])
        conditions[_KEYS.get(name, name)] = (
            value if isinstance(value, int) else str(value)
        )
    for name, instant in (
        ("from", job_filter.enqueued_from), ("to", job_filter.enqueued_to)
    ):  # fmt: skip
        if isinstance(instant, datetime):
            conditions[name] = format_instant(instant)
    return conditions


def about_selected(verb: Verb, ticked: Iterable[str]) -> Question | None:
    """Return the question about ticked rows; None if the action applies to none.

    Args:
        verb: The action.
        ticked: The values of the checkboxes: state and id of each job, as it was shown.
    """
    marks = [each.partition(".") for each in dict.fromkeys(ticked)]
    chosen = [(word, job_id) for word, _, job_id in marks if word in verb.statuses]
    if not chosen:
        return None
    ids = list(dict.fromkeys(job_id for _, job_id in chosen))
    words = [word for word in _TICKED if word in {word for word, _ in chosen}]
    named = ", ".join(f"…{job_id[-SHORT_ID:]}" for job_id in ids[:_NAMED])
    if len(ids) > _NAMED:
        named += f" and {len(ids) - _NAMED:,} more"
    is_wide = verb.action is JobAction.DELETE and len(words) > 1
    return Question(
        verb,
        len(ids),
        len(marks) - len(chosen),
        [
            ("status is", " or ".join(_TICKED[word] for word in words)),
            ("id", named),
        ],
        len(ids) > MAX_UNTYPED or is_wide,
        {"action": str(verb.action), "ids": ids},
    )
