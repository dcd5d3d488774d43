"""The headline of a list: how many jobs match, and in which states they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flask_forge_jobs.dashboard.jobs.listings import (
    DEAD_JOBS,
    JOBS,
    PENDING,
    RETRIES,
    SCHEDULED_JOBS,
    STATUS_NAMES,
    parts_of,
)
from flask_forge_jobs.dashboard.jobs.offers import number_of
from flask_forge_jobs.dashboard.jobs.query import JobQuery
from flask_forge_jobs.dashboard.jobs.reading import JobList
from flask_forge_jobs.model.ordering import StatusCounts
from flask_forge_jobs.model.sentences import count

# One job, several jobs, none.
_UNFILTERED: Mapping[str, tuple[str, str, str]] = {
    JOBS.path: ("job is stored", "jobs are stored", "No jobs"),
    SCHEDULED_JOBS.path: (
        "job waits for its time", "jobs wait for their time", "No scheduled jobs",
    ),
    RETRIES.path: (
        "job waits for another try", "jobs wait for another try", "No retries",
    ),
    DEAD_JOBS.path: ("job is dead", "jobs are dead", "No dead jobs"),
}  # fmt: skip
_NOUNS = {
    JOBS.path: "job",
    SCHEDULED_JOBS.path: "scheduled job",
    RETRIES.path: "retrying job",
    DEAD_JOBS.path: "dead job",
}


def headline(query: JobQuery, matching: StatusCounts) -> str:
    """Return the answer: ``1,501 jobs match``."""
    if matching.bound is not None:
        return f"More than {matching.bound:,} {_NOUNS[query.listing.path]}s match"
    if _has_both(query, matching):
        later = matching.scheduled or 0
        wait = count(matching.total - later, "job waits", "jobs wait")
        return f"{wait}, {later:,} {'is' if later == 1 else 'are'} scheduled"
    if query.is_filtered:
        noun = _NOUNS[query.listing.path]
        if not matching.total:
            return f"No {noun} matches"
        return count(matching.total, f"{noun} matches", f"{noun}s match")
    one, many, none = _UNFILTERED[query.listing.path]
    return count(matching.total, one, many) if matching.total else none


def _has_both(query: JobQuery, matching: StatusCounts) -> bool:
    """Whether waiting and scheduled jobs match, no others, and their numbers are known.

    Links about waiting jobs lead to that list, so it begins with their number.
    """
    later = matching.scheduled
    return query.statuses == (PENDING,) and bool(later) and later != matching.total


def parts_in_words(query: JobQuery, matching: StatusCounts) -> str:
    """Return the states of the jobs, the largest first; empty if they have one."""
    if matching.bound is not None or _has_both(query, matching):
        return ""
    numbers = {
        word: number_of(word, matching) for word in parts_of(query.chosen_statuses)
    }
    words = {word: STATUS_NAMES[word].lower() for word in numbers}
    if None not in numbers.values():
        words[PENDING] = "waiting"
    else:  # scheduled jobs are not told apart
        numbers = {
            word: number or matching.pending if word == "pending" else number or 0
            for word, number in numbers.items()
        }
    non_empty = {word: number for word, number in numbers.items() if number}
    if len(non_empty) < 2:  # noqa: PLR2004  # the headline says it all
        return ""
    ordered = sorted(non_empty.items(), key=lambda item: -(item[1] or 0))
    return ", ".join(f"{number:,} {words[word]}" for word, number in ordered)


def by_state(jobs: JobList) -> Mapping[str, int]:
    """Return the caller's jobs in each state that a list counts; none of a filter.

    ``pending`` are those without the scheduled ones, as in the bar at the top.
    """
    query = jobs.query
    if replace(query, statuses=()).is_filtered or jobs.counts.bound is not None:
        return {}
    numbers = {
        word: number_of(word, jobs.counts) for word in parts_of(query.listing.statuses)
    }
    return {word: number for word, number in numbers.items() if number is not None}
