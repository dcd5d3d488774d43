"""Claims under way: jobs may be ours by now although nobody here has heard of them."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary


class ClaimsUnderWay:
    """Tells claims whose answer may still come from those that are over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        # A claim whose caller was interrupted is over, though nobody says so.
        self._under_way: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    def begin(self, claimer: object) -> None:
        """Take in that a claim begins.

        Args:
            claimer: Has one claim under way at a time.
        """
        with self._lock:
            self._count += 1
            self._under_way[claimer] = self._count

    def end(self, claimer: object) -> None:
        """Take in that the answer is there, or will never come.

        Whoever brings jobs makes them known before anybody can ask for those that are.
        """
        with self._lock:
            self._under_way.pop(claimer, None)

    @property
    def newest(self) -> int:
        """The number of the claim that began last."""
        with self._lock:
            return self._count

    def have_ended(self, newest: int) -> bool:
        """Whether the claims up to a number are over."""
        with self._lock:
            return all(number > newest for number in self._under_way.values())
