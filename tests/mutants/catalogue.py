"""All mutants."""

from __future__ import annotations

from tests.mutants import (
    access,
    claims,
    edges,
    failover,
    limits,
    operating,
    processes,
    producing,
    recovery,
    requests,
    schedules,
    upkeep,
    working,
)
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *claims.MUTANTS,
    *producing.MUTANTS,
    *recovery.MUTANTS,
    *limits.MUTANTS,
    *schedules.MUTANTS,
    *upkeep.MUTANTS,
    *operating.MUTANTS,
    *working.MUTANTS,
    *processes.MUTANTS,
    *requests.MUTANTS,
    *access.MUTANTS,
    *edges.MUTANTS,
    *failover.MUTANTS,
)
