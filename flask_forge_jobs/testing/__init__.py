"""Test helpers for applications that use ForgeJobs; pytest is optional."""

from __future__ import annotations

from flask_forge_jobs.testing.clock import FrozenClock
from flask_forge_jobs.testing.kit import JobsKit
from flask_forge_jobs.testing.outcomes import RanJob

__all__ = ["FrozenClock", "JobsKit", "RanJob"]
