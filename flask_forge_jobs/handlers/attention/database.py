"""Rules about the database: slow, locked, kept from cleaning up, of another schema."""

from __future__ import annotations

from collections.abc import Iterator

from flask_forge_jobs.model.attention import Facts, Need
from flask_forge_jobs.model.durations import duration, elapsed
from flask_forge_jobs.model.sentences import Action, Sentence, count

# A database answers slowly at this many times the usual percentile, from this time on.
SLOW_TIMES = 3
SLOW_S = 0.05
_SHOW = Action("GET", "/v1/storage/info", "Show database")


def misfit(facts: Facts) -> Iterator[Need]:
    """Yield that the schema is too old or too new."""
    stored, known = facts.database.schema_stored, facts.database.schema_known
    if facts.database.schema_fault is not None:
        text = f"The schema does not fit: {facts.database.schema_fault}."
        evidence: dict[str, object] = {"stored": stored, "known": known}
        if stored < known:
            evidence["command"] = "flask forge-jobs db migrate"
        yield 0, Sentence("schema_misfit", text, evidence)


def locked(facts: Facts) -> Iterator[Need]:
    """Yield that nobody can write to the SQLite file."""
    locked_s = facts.database.write_locked_s
    if locked_s is not None:
        jobs = sum(queue.waiting for queue in facts.queues)
        text = (
            "The database is locked: another connection has kept its write lock, and "
            f"no worker could write for {elapsed(locked_s)}."
        )
        evidence = {"locked_s": int(locked_s), "jobs": jobs}
        yield jobs, Sentence("database_locked", text, evidence, _SHOW)


def slow(facts: Facts) -> Iterator[Need]:
    """Yield that reads or writes take much longer than usual, the slower of both."""
    late = [
        each
        for each in facts.database.times
        if each.now_s >= max(SLOW_S, SLOW_TIMES * each.usual_s)
    ]
    if late:
        worst = max(late, key=lambda each: each.now_s)
        text = (
            f"The database answers slowly: p95 of {worst.calls} "
            f"{duration(worst.now_s)}, usually {duration(worst.usual_s)}."
        )
        evidence = {
            "calls": worst.calls,
            "p95_ms": round(worst.now_s * 1000, 1),
            "usual_p95_ms": round(worst.usual_s * 1000, 1),
        }
        yield 0, Sentence("database_slow", text, evidence, _SHOW)


def old_transactions(facts: Facts) -> Iterator[Need]:
    """Yield that transactions are open for so long that claims slow down, as one."""
    held = sorted(facts.database.transactions, key=lambda each: -each.age_s)
    if not held:
        return
    oldest = held[0]
    application = f" of {oldest.application}" if oldest.application else ""
    text = (
        f"A transaction is open for {elapsed(oldest.age_s)}: {oldest.holder}"
        f"{application}. It slows claims down until it ends."
    )
    if len(held) > 1:
        text += f" {count(len(held) - 1, 'more is', 'more are')} open."
    evidence = {
        "transactions": [
            {
                "holder": each.holder,
                "application": each.application,
                "age_s": round(each.age_s),
            }
            for each in held[:10]
        ]
    }
    yield 0, Sentence("transaction_open", text, evidence, _SHOW)


def hazards(facts: Facts) -> Iterator[Need]:
    """Yield that connections of this process may damage the SQLite file."""
    if facts.database.hazards:
        text = f"The SQLite file is at risk: {facts.database.hazards[0]}."
        evidence = {"hazards": list(facts.database.hazards)}
        yield 0, Sentence("sqlite_affected", text, evidence)
