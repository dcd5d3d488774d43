"""Rules about workers: lost ones, and duties that do not tick."""

from __future__ import annotations

from collections.abc import Iterator

from flask_forge_jobs.model.attention import Facts, Need
from flask_forge_jobs.model.durations import duration, elapsed
from flask_forge_jobs.model.sentences import Action, Sentence, count
from flask_forge_jobs.model.workers import ServiceAge

SHOW_WORKERS = Action("GET", "/v1/workers", "Show workers")


def lost(facts: Facts) -> Iterator[Need]:
    """Yield the workers that fell silent."""
    if facts.database.write_locked_s is not None:
        return
    for worker in facts.workers:
        if worker.is_live:
            continue
        jobs = sum(each.jobs for each in worker.rescued)
        dead = sum(each.dead for each in worker.rescued)
        text = (
            f"{worker.label} is lost: it was last seen {elapsed(worker.silent_s)} ago."
        )
        if jobs:
            rescued = count(jobs, "job that it ran was", "jobs that it ran were")
            text += f" {rescued} rescued, {dead:,} of them dead."
        evidence = {
            "worker": worker.label,
            "worker_id": worker.id,
            "last_seen_s": int(worker.silent_s),
            "rescued": jobs,
            "dead": dead,
        }
        yield jobs, Sentence("worker_lost", text, evidence, SHOW_WORKERS)


def late_duties(facts: Facts) -> Iterator[Need]:
    """Yield the duties of live workers whose ticks are missing, each once."""
    latest: dict[str, tuple[ServiceAge, str]] = {}
    for worker in facts.live:
        for each in worker.services:
            known = latest.get(each.name)
            if each.is_late and (known is None or each.age_s > known[0].age_s):
                latest[each.name] = each, worker.label
    for name, (service, label) in sorted(latest.items()):
        text = (
            f"{name} of {label} does not tick: the last time was "
            f"{elapsed(service.age_s)} ago, usually it is every "
            f"{duration(service.period_s)}."
        )
        evidence = {
            "duty": name,
            "worker": label,
            "last_tick_s": service.whole_age_s,
            "period_s": service.period_s,
        }
        yield 0, Sentence("duty_late", text, evidence, SHOW_WORKERS)
