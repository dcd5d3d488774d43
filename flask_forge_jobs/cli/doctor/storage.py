"""Findings on the database, on what waits in it and on the workers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping

from flask_forge_jobs.cli.remedies import remedy_of
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.handlers.attention.cache import look
from flask_forge_jobs.handlers.attention.report import report
from flask_forge_jobs.model.findings import Finding
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.state import ApplicationState
from flask_forge_jobs.storage import deployment
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.batch_checker import LARGEST
from flask_forge_jobs.storage.database import SchemaVersions
from flask_forge_jobs.storage.standby import Standby

# A server that notifies does so within milliseconds.
NOTIFY_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.02
_MAX_BATCHES = 10
_MIGRATE = "flask forge-jobs db migrate"
_READ_LOG = "read its log, and start it again; flask forge-jobs workers"
# Sentences that name a fault of the deployment, not of its work, and the remedies that
# no command is. Their names are keys of the evidence.
DEPLOYMENT: Mapping[str, str | None] = {
    "database_locked": "end the process that keeps the lock; fuser and lsof list those "
    "that have the file open",
    "database_slow": "look for other load on its host and disk",
    "duty_late": _READ_LOG,
    "kind_unknown": "deploy its task to the workers of {queue}, or flask forge-jobs "
    "jobs cancel --queue {queue} --kind {kind}",
    "no_worker": None,
    "queue_unserved": None,
    "queue_without_slots": None,
    "transaction_open": "SELECT pg_terminate_backend(its number), then let its program "
    "commit sooner",
    "worker_lost": _READ_LOG,
}


def findings_of(state: ApplicationState) -> Iterator[Finding]:
    """Yield the findings on the database of an application; changes nothing in it."""
    settings = state.database.settings
    reader = open_storage(settings, migrate=False)
    try:
        versions = reader.database.schema_versions()
    except StorageError as error:
        yield Finding(
            "database_away",
            f"{settings.dsn_for_display} cannot be used: {error}.",
            f"start it, or correct the setting that names it: {state.database.source}",
        )
        return
    finally:
        reader.close()
    unfit = _unfit(versions)
    if unfit is not None:
        yield unfit
        return
    yield from deployment.findings_of(state.storage.database, state.clock)
    if settings.backend == "postgres" and not _notifies(state.storage):
        yield Finding(
            "notify_missing",
            "LISTEN is accepted but notifications do not arrive, so jobs start late.",
            "set FORGE_JOBS_LISTEN_URL to an address past the pooler",
        )
    yield from _of_standby(state.standby)
    yield from _of_work(state)
    yield from _of_batches(state.storage)


def _unfit(versions: SchemaVersions | None) -> Finding | None:
    """Return that the schema is missing, old or too new; None if it fits."""
    if versions is None:
        return Finding("schema_missing", "There are no tables of the jobs.", _MIGRATE)
    try:
        versions.require_readable()
    except StorageError as error:
        return Finding("schema_too_new", f"{error}.", "install the newer package here")
    pending = versions.known - versions.stored
    if pending > 0:
        text = f"The schema is {versions.stored}, this code knows {versions.known}."
        return Finding("schema_old", text, _MIGRATE)
    return None


def _notifies(storage: Storage) -> bool:
    """Return whether notifications arrive, on a connection of a listener."""
    listener = storage.database.listen(lambda _: None)
    try:
        end = time.monotonic() + NOTIFY_WITHIN_S
        never = threading.Event()
        while not listener.is_pushing() and time.monotonic() < end:
            never.wait(_LOOK_EVERY_S)
        return listener.is_pushing()
    finally:
        listener.stop()


def _of_standby(standby: Standby | None) -> Iterator[Finding]:
    if standby is None:
        return
    with contextlib.closing(standby):
        look = standby.look()
    if look.fault is not None:
        yield Finding(
            "standby_unused",
            f"The primary answers all reads; the standby {standby.place}: "
            f"{look.fault}.",
            "start it, or correct or remove FORGE_JOBS_READ_DATABASE_URL",
        )
    elif look.lag_s is None or look.lag_s > standby.max_lag_s:
        yield Finding(
            "standby_behind",
            f"The standby {standby.place} shows an earlier state of the jobs.",
            "look into pg_stat_replication and its log; FORGE_JOBS_READ_MAX_LAG_S is "
            f"{standby.max_lag_s:g}",
        )


def _of_work(state: ApplicationState) -> Iterator[Finding]:
    facts = look(state.storage, from_micros(state.clock.now_us()))
    for sentence in report(facts).sentences:
        if sentence.code in DEPLOYMENT:
            yield Finding(sentence.code, sentence.text, _remedy_of(sentence))


def _of_batches(storage: Storage) -> Iterator[Finding]:
    faults, _ = storage.batch_checker.look(max_jobs=LARGEST)
    for fault in faults[:_MAX_BATCHES]:
        yield Finding(
            "batch_counts",
            f"Batch {fault.id} ({fault.name}) counts {fault.counted:,} unfinished jobs "
            f"and has {fault.unfinished:,}, so it ends too soon or never.",
            "start a worker, which corrects the counts within minutes, and look for "
            "what changes rows beside it",
        )


def _remedy_of(sentence: Sentence) -> str:
    words = DEPLOYMENT[sentence.code]
    if words is None:
        return (remedy_of(sentence) or "").removeprefix("$ ")
    return words.format_map(sentence.evidence)
