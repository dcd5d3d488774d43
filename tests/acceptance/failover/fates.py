"""What became of the jobs of a trial."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tests.acceptance.checker import FINAL, Checker
from tests.acceptance.failover.clients import twice
from tests.acceptance.ledger import Evidence
from tests.support.sql import Sql


@dataclass(slots=True, kw_only=True)
class Fates:
    """What is asked of every trial.

    Args:
        jobs: Acknowledged ones.
        lost: Of them, those that are not stored.
        stuck: Stored ones that have not ended.
        twice: Runs too many, and jobs of the API's clients that are stored twice.
        ended: Processes of workers and of the API that have ended.
        complaints: What else does not hold.
    """

    jobs: int = 0
    lost: int = 0
    stuck: int = 0
    twice: int = 0
    ended: int = 0
    complaints: list[str] = field(default_factory=list)

    def count(self, evidence: Evidence, sql: Sql) -> dict[str, int]:
        """Count the jobs; return the number of each that is stored, by its id."""
        rows = sql.run("SELECT id, status, payload FROM forge_job")
        numbers = {job_id: int(json.loads(text)["number"]) for job_id, _, text in rows}
        acknowledged = {ack.job_id for ack in evidence.acks}
        self.jobs = len(acknowledged)
        self.lost = len(acknowledged - set(numbers))
        self.stuck = sum(status not in FINAL for _, status, _ in rows)
        self.twice = len(Checker(evidence).extra_runs()) + twice([*numbers.values()])
        return numbers

    def harm(self) -> list[str]:
        """Return what has gone wrong with jobs and processes."""
        counts = {
            "lost": self.lost,
            "stuck": self.stuck,
            "twice": self.twice,
            "processes ended": self.ended,
        }
        return [f"{count} {what}" for what, count in counts.items() if count]
