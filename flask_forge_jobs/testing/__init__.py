"""Test kit for applications that use ForgeJobs; needs no pytest and no service."""

from __future__ import annotations

from flask_forge_jobs.testing.clock import FrozenClock
from flask_forge_jobs.testing.kit import JobsKit
from flask_forge_jobs.testing.outcomes import RanJob

__all__ = ["FrozenClock", "JobsKit", "RanJob"]
