"""Which backends a test runs on."""

from __future__ import annotations

import pytest
from _pytest.mark.structures import ParameterSet

from flask_forge_jobs.alembic import TABLES

BACKENDS = ("sqlite", "postgres")

#: For a test in a folder whose tests run on SQLite unless they say otherwise.
each_backend = pytest.mark.parametrize("backend", BACKENDS, indirect=True)

#: For a test above the storage, in a folder whose tests run on both.
on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def long(*values: object) -> ParameterSet:
    """Return a case that only the full tier runs."""
    return pytest.param(*values, marks=pytest.mark.long)


#: For a scenario of processes whose storage the contract tests on both; the full tier
#: runs it on both, too. The second is for those that fork or are cut off from a server.
sqlite_first = pytest.mark.parametrize(
    "backend", ["sqlite", long("postgres")], indirect=True
)
postgres_first = pytest.mark.parametrize(
    "backend", [long("sqlite"), "postgres"], indirect=True
)


@pytest.fixture(params=["sqlite", long("postgres")])
def backend(request: pytest.FixtureRequest) -> str:
    """SQLite; the full tier adds PostgreSQL.

    For folders above the storage, whose contract is tested on both. Tests to which the
    database could matter all the same say :data:`each_backend`.
    """
    return str(request.param)


def tables_of(backend: str) -> set[str]:
    """Return our tables on a backend; SQLite has no changes that are folded later."""
    late = {"forge_batch_change"} if backend == "sqlite" else set[str]()
    return set(TABLES) - late
