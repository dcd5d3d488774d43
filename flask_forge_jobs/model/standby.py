"""How old an answer of a standby may be, by positions in the primary's log."""

from __future__ import annotations

from dataclasses import dataclass


class Positions:
    """What the primary had written, and when, for as long as the bound.

    Args:
        max_lag_s: The bound.
    """

    def __init__(self, max_lag_s: float) -> None:
        self._max_lag_s = max_lag_s
        # Replaced as a whole, for threads that read it.
        self._notes: tuple[tuple[float, int], ...] = ()

    def note(self, at: float, position: int) -> None:
        """Note the primary's position at a moment."""
        kept = [each for each in self._notes if at - each[0] <= 2 * self._max_lag_s]
        self._notes = (*kept, (at, position))

    def forget(self) -> None:
        """Forget everything."""
        self._notes = ()

    def required(self, now: float) -> int | None:
        """Return what an answer must show to be within the bound; None if unknown."""
        for at, position in self._notes:
            if now - at <= self._max_lag_s:
                return position
        return None

    def lag_s(self, now: float, replayed: int) -> float | None:
        """Return how old the state of a standby is at most; None if unknown."""
        shown = [at for at, position in self._notes if position <= replayed]
        return now - shown[-1] if shown else None


@dataclass(frozen=True, slots=True)
class StandbyState:
    """The state of a standby, as far as it is known.

    Args:
        lag_s: How far it is behind; None if that is unknown.
        fault: Why it answers nothing; None if it does.
        answered: How many requests it has answered in this process.
        instead: How many the primary has answered in its place.
    """

    lag_s: float | None
    fault: str | None
    answered: int
    instead: int
