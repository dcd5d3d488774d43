"""A hazard finds the contract's data set, which it must leave as it is."""

from __future__ import annotations

from tests.conformance.fixtures import backend, client, database_settings, seeded_file

__all__ = ["backend", "client", "database_settings", "seeded_file"]
