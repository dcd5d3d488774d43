"""A claim under way: jobs may be ours by now although nobody here has heard of them."""

from __future__ import annotations

import threading


class ClaimsUnderWay:
    """Tells a claim whose answer may still come from those that are over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._is_under_way = False

    def begin(self) -> None:
        """Take in that a claim begins; whoever claims has one under way at a time."""
        with self._lock:
            self._count += 1
            self._is_under_way = True

    def end(self) -> None:
        """Take in that the answer is there, or will never come.

        Whoever brings jobs makes them known before anybody can ask for those that are.
        """
        with self._lock:
            self._is_under_way = False

    @property
    def newest(self) -> int:
        """The number of the claim that began last."""
        with self._lock:
            return self._count

    def have_ended(self, newest: int) -> bool:
        """Whether the claims up to a number are over."""
        with self._lock:
            return newest < self._count or not self._is_under_way
