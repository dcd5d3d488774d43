"""Every test of a route finds the contract's data set."""

from __future__ import annotations

from tests.conformance.fixtures import backend, client, database_settings, seeded_file

__all__ = ["backend", "client", "database_settings", "seeded_file"]
