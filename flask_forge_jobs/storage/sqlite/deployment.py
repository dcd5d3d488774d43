"""Faults in where a SQLite file lies and which connections use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from flask_forge_jobs.model.findings import Finding
from flask_forge_jobs.storage.sqlite.files import (
    file_faults,
    folder_faults,
    network_faults,
    space_faults,
    write_faults,
)
from flask_forge_jobs.storage.sqlite.shared_file import engine_hazards

# By the code of their fault; each yields sentences that end with their remedy.
CHECKS: dict[str, Callable[[Path], Iterable[str]]] = {
    "folder_writable": folder_faults,
    "file_readable": file_faults,
    "file_read_only": write_faults,
    "network_file_system": network_faults,
    "disk_full": space_faults,
    "sqlite_affected": engine_hazards,
}


def file_findings(path: Path) -> Iterator[Finding]:
    """Yield the faults of an existing database file."""
    for code, check in CHECKS.items():
        for sentence in check(path):
            text, _, remedy = sentence.rpartition("; ")
            yield Finding(code, f"{text[0].upper()}{text[1:]}.", remedy)
