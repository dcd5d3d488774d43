"""Rules about jobs that wait for dead ones, and about batches that cannot end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from flask_forge_jobs.model.attention import Facts, HeldFacts, Need
from flask_forge_jobs.model.durations import elapsed
from flask_forge_jobs.model.sentences import Action, Sentence, count

_MAX_NAMED = 20


def standing(facts: Facts) -> Iterator[Need]:
    """Yield the batches that cannot end, as a job of theirs waits for a dead one."""
    by_batch: dict[str, list[HeldFacts]] = defaultdict(list)
    for each in facts.held:
        if each.batch_id is not None:
            by_batch[each.batch_id].append(each)
    for batch_id, held in by_batch.items():
        name = held[0].batch_name or ""
        text = f"Batch {batch_id} ({name}) cannot end: {_on_hold(held)}."
        evidence = {"batch": batch_id, "name": name, **_evidence(held)}
        show = Action("GET", f"/v1/batches/{batch_id}", "Show batch")
        action = _way_out(held) or show
        yield len(_jobs(held)), Sentence("batch_stands", text, evidence, action)


def held(facts: Facts) -> Iterator[Need]:
    """Yield the kinds with jobs, of no batch, that wait for dead ones."""
    by_kind: dict[tuple[str, str], list[HeldFacts]] = defaultdict(list)
    for each in facts.held:
        if each.batch_id is None:
            by_kind[each.queue_name, each.kind].append(each)
    for (queue_name, kind), held in by_kind.items():
        text = f"{kind} in {queue_name} is on hold: {_on_hold(held)}."
        evidence = {"queue": queue_name, "kind": kind, **_evidence(held)}
        query = urlencode({"queue": queue_name, "kind": kind, "waiting": 1})
        show = Action("GET", f"/v1/jobs?{query}", "Show jobs")
        action = _way_out(held) or show
        yield len(_jobs(held)), Sentence("jobs_held", text, evidence, action)


def left_open(facts: Facts) -> Iterator[Need]:
    """Yield the batches whose producer adds nothing more and does not say so."""
    for each in facts.open_batches:
        text = (
            f"Batch {each.id} ({each.name}) is open and cannot end: its producer has "
            f"added nothing for {elapsed(each.quiet_s)}."
        )
        evidence = {
            "batch": each.id,
            "name": each.name,
            "quiet_s": int(each.quiet_s),
            "jobs": each.jobs,
            "unfinished": each.unfinished,
        }
        action = Action("POST", f"/v1/batches/{each.id}/seal", "Seal")
        yield each.unfinished, Sentence("batch_open", text, evidence, action)


def _jobs(held: Sequence[HeldFacts]) -> list[str]:
    return list(dict.fromkeys(each.job_id for each in held))


def _parents(held: Sequence[HeldFacts]) -> dict[str, HeldFacts]:
    return {e.parent_id: e for e in held if e.parent_id is not None}


def _on_hold(held: Sequence[HeldFacts]) -> str:
    """Return how many jobs wait for which dead ones."""
    jobs, parents = count(len(_jobs(held)), "job waits", "jobs wait"), _parents(held)
    if len(parents) != 1:
        others = count(len(parents), "job") if parents else "a job"
        return f"{jobs} for {others} that {'are' if len(parents) > 1 else 'is'} dead"
    [(parent_id, one)] = parents.items()
    noun = "batch" if one.is_batch else "job"
    name = f" ({one.parent_name})" if one.parent_name else ""
    state = "was deleted" if one.is_gone else "is dead"
    error = f", “{one.error.partition(chr(10))[0]}”" if one.error else ""
    return f"{jobs} for {noun} {parent_id}{name}, which {state}{error}"


def _evidence(held: Sequence[HeldFacts]) -> dict[str, Any]:
    jobs, parents = _jobs(held), list(_parents(held))
    return {
        "jobs": len(jobs),
        "waiting": jobs[:_MAX_NAMED],
        "parents": parents[:_MAX_NAMED],
    }


def _way_out(held: Sequence[HeldFacts]) -> Action | None:
    """Return the retry of the only parent, or the release of the only job."""
    jobs, parents = _jobs(held), _parents(held)
    one = next(iter(parents.values()), None)
    if len(parents) == 1 and one is not None and not one.is_gone:
        return retry_of(str(one.parent_id), is_batch=one.is_batch)
    return release_of(jobs[0]) if len(jobs) == 1 else None


def retry_of(parent_id: str, *, is_batch: bool) -> Action:
    """Return the retry of a job or a batch for which others wait."""
    if is_batch:
        path = f"/v1/batches/{parent_id}/retry"
        return Action("POST", path, "Retry its dead jobs")
    return Action("POST", f"/v1/jobs/{parent_id}/retry", "Retry that one")


def release_of(job_id: str) -> Action:
    """Return the release of a job that waits for others."""
    return Action("POST", f"/v1/jobs/{job_id}/release", "Release")
