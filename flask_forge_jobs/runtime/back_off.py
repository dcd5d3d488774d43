"""BackOff: for how long a storage that fails is left alone."""

from __future__ import annotations

from flask_forge_jobs.clock import Clock

FIRST_BACK_OFF_S = 1.0
LONGEST_BACK_OFF_S = 30.0


class BackOff:
    """Waits twice as long after each failure.

    Args:
        clock: For the waits.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pause_s = 0.0
        self._failed_at = 0.0

    @property
    def is_on(self) -> bool:
        """Whether the last try failed."""
        return self._pause_s > 0

    def note_failure(self) -> float:
        """Take in that a try failed; return the seconds until the next one."""
        self._pause_s = min(
            max(self._pause_s * 2, FIRST_BACK_OFF_S), LONGEST_BACK_OFF_S
        )
        self._failed_at = self._clock.monotonic()
        return self._pause_s

    def note_success(self) -> None:
        """Take in that a try succeeded."""
        self._pause_s = 0.0

    def rests_until(self, *, is_ending: bool) -> float:
        """Return the monotonic instant of the next try.

        Args:
            is_ending: A process that ends has no half minute to wait.
        """
        longest_s = FIRST_BACK_OFF_S if is_ending else LONGEST_BACK_OFF_S
        return self._failed_at + min(self._pause_s, longest_s)
