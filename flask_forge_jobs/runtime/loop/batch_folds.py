"""Folds the counts of batches soon after this worker has ended jobs of theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger

logger = get_logger(__name__)

# A batch ends at most so much later; a busy one is folded no more often.
PERIOD_S = 0.05


class BatchFolds:
    """The batches whose changes are to be folded; only PostgreSQL has any.

    Whatever is forgotten here, the upkeep of a worker finds in the database.

    Args:
        fold: Folds batches, and returns those that another process was at.
    """

    def __init__(self, fold: Callable[[Iterable[str]], set[str]]) -> None:
        self._fold = fold
        self._noted: set[str] = set()
        self._next_at = 0.0
        self.due_at: float | None = None
        """When to fold, in monotonic seconds; None if there is nothing to fold."""

    def note(self, batch_ids: Iterable[str]) -> None:
        """Remember batches whose changes have been stored."""
        self._noted.update(batch_ids)
        self.due_at = self._next_at

    def go(self, now: float) -> None:
        """Fold if it is time.

        Raises:
            StorageError: The database stores nothing now.
        """
        if self.due_at is None or now < self.due_at:
            return
        self._next_at = now + PERIOD_S
        noted, self._noted, self.due_at = self._noted, set(), None
        try:
            left = self._fold(noted)
        except StorageError:
            self.note(noted)
            raise
        except Exception:
            logger.exception("batches %s could not be folded", ", ".join(sorted(noted)))
        else:
            if left:
                self.note(left)
