"""Every change of a job's state, as the database itself saw it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.acceptance.faults.fault import Bench

DELETED = "deleted"
FINAL = ("done", "dead")
# Old state, new state, and how the number of attempts changes: by how much, or to 0.
_SAME, _ONE_MORE, _UNSPENT, _ANEW = "same", "one more", "one less", "anew"
_LEGAL = {
    ("pending", "in_progress"): {_ONE_MORE},
    ("failed", "in_progress"): {_ONE_MORE},
    ("in_progress", "done"): {_SAME},
    ("in_progress", "failed"): {_SAME},
    ("in_progress", "dead"): {_SAME},
    # A release and a throttle leave the attempt unspent.
    ("in_progress", "pending"): {_UNSPENT},
    # Cancelled before it could run (again).
    ("pending", "dead"): {_SAME},
    ("failed", "dead"): {_SAME},
    # Requeued by an operator, with a new budget.
    ("failed", "pending"): {_ANEW},
    ("dead", "pending"): {_ANEW},
    **{(status, DELETED): {_SAME} for status in ("pending", "failed", "done", "dead")},
}
_TABLE = (
    "CREATE TABLE seen_edge (job_id TEXT, was TEXT, became TEXT, "
    "attempts_before INTEGER, attempts_after INTEGER)"
)
_SQLITE = """
CREATE TRIGGER seen_update AFTER UPDATE ON forge_job WHEN old.status <> new.status
BEGIN
    INSERT INTO seen_edge
    VALUES (new.id, old.status, new.status, old.attempts, new.attempts);
END;;
CREATE TRIGGER seen_delete AFTER DELETE ON forge_job BEGIN
    INSERT INTO seen_edge
    VALUES (old.id, old.status, 'deleted', old.attempts, old.attempts);
END
"""
_POSTGRES = """
CREATE FUNCTION note_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO seen_edge
        VALUES (OLD.id, OLD.status, 'deleted', OLD.attempts, OLD.attempts);
    ELSIF OLD.status <> NEW.status THEN
        INSERT INTO seen_edge
        VALUES (NEW.id, OLD.status, NEW.status, OLD.attempts, NEW.attempts);
    END IF;
    RETURN NULL;
END $$;;
CREATE TRIGGER seen_edge AFTER UPDATE OR DELETE ON forge_job
FOR EACH ROW EXECUTE FUNCTION note_edge()
"""


@dataclass(frozen=True, slots=True)
class Edge:
    """One change of one job's state."""

    job_id: str
    was: str
    became: str
    attempts_before: int
    attempts_after: int

    @property
    def is_legal(self) -> bool:
        """Whether the state machine has it, with this change of the attempts."""
        return self._attempts in _LEGAL.get((self.was, self.became), set())

    @property
    def _attempts(self) -> str:
        change = self.attempts_after - self.attempts_before
        if (self.was, self.became) in (("failed", "pending"), ("dead", "pending")):
            return _ANEW if self.attempts_after == 0 else ""
        return {0: _SAME, 1: _ONE_MORE, -1: _UNSPENT}.get(change, "")


def watch_edges(bench: Bench) -> None:
    """Note every change of a state from now on; the tables must be there."""
    triggers = _SQLITE if bench.backend == "sqlite" else _POSTGRES
    for statement in (_TABLE, *triggers.split(";;")):
        bench.sql.run(statement)


def edges_of(bench: Bench) -> list[Edge]:
    """Return what has been noted."""
    return [Edge(*row) for row in bench.sql.run("SELECT * FROM seen_edge")]


def illegal(edges: Iterable[Edge]) -> list[Edge]:
    """Return the changes that the state machine does not have."""
    return [edge for edge in edges if not edge.is_legal]


def ends(edges: Iterable[Edge]) -> Iterator[tuple[str, int]]:
    """Return how often each job came to a final state."""
    counted = Counter(edge.job_id for edge in edges if edge.became in FINAL)
    yield from counted.items()
