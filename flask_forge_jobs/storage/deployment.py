"""Findings on how the database of a deployment is set up."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.findings import Finding
from flask_forge_jobs.storage.database import Database


def findings_of(database: Database, clock: Clock) -> Sequence[Finding]:
    """Return the findings on a database; ``clock`` is that of this host.

    Raises:
        StorageError: It does not answer.
    """
    database.open()
    if database.backend == "sqlite":
        from flask_forge_jobs.storage.sqlite.deployment import file_findings

        return [] if database.file is None else list(file_findings(database.file))
    from flask_forge_jobs.storage.postgres.deployment import server_findings

    return list(server_findings(database, clock))
