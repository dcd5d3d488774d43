"""Sortable ids: ULIDs that increase within one process.

A ULID is 48 bits of milliseconds and 80 random bits, written as 26 characters of
Crockford base 32 (https://github.com/ulid/spec). Within one process every id is
greater than the one before, even within one millisecond or when the clock steps back.
Ids of different processes never clash but are only roughly ordered.

Not ``python-ulid``: its ids decrease when the clock steps back, and a thousand of them
take ten times as long.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from itertools import repeat
from operator import and_, rshift

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.forks import PID, PerProcess

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# The digits of Python's base 32.
_AS_DIGITS = str.maketrans(_ALPHABET, "0123456789ABCDEFGHIJKLMNOPQRSTUV")
_RANDOM_BITS = 80
_MAX_ULID = (1 << 128) - 1
_NEAR = (1 << 64) - 1
_TAIL_LENGTH = 4
_TAIL_BITS = 5 * _TAIL_LENGTH
# Two characters at a time: 1,024 entries turn 26 divisions into 13.
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_PAIR_AT, _LOW = _PAIRS.__getitem__, repeat(0x3FF)
_SHIFTS = range(120, -1, -10)
_HEAD_SHIFTS = _SHIFTS[: -_TAIL_LENGTH // 2]


def _encode(value: int) -> str:
    return "".join(map(_PAIR_AT, map(and_, map(rshift, repeat(value), _SHIFTS), _LOW)))


def lifted(ids: Sequence[str], floor: str) -> list[str]:
    """Return ids that are greater than another one, in the same order.

    They are those given if these are. Otherwise another process, whose clock is ahead,
    has made the other id; then they follow from both, at a distance of their own.

    Raises:
        OverflowError: There are not so many.
    """
    if not ids or ids[0] > floor:
        return list(ids)
    first = _decode(ids[0])
    offset = _decode(floor) + 1 + (first & _NEAR) - first
    values = [_decode(each) + offset for each in ids]
    if values[-1] > _MAX_ULID:
        raise OverflowError("the ULID space is used up")
    return [_encode(value) for value in values]


def runs(ids: Sequence[str]) -> list[tuple[str, str]]:
    """Return the first and the last of each run of consecutive numbers.

    Args:
        ids: Distinct ids in ascending order.
    """
    if not ids:
        return []
    if _decode(ids[-1]) - _decode(ids[0]) == len(ids) - 1:
        return [(ids[0], ids[-1])]
    middle = len(ids) // 2
    left, right = runs(ids[:middle]), runs(ids[middle:])
    if _decode(right[0][0]) - _decode(left[-1][1]) == 1:
        left[-1:], right = [(left[-1][0], right[0][1])], right[1:]
    return left + right


def _decode(ulid: str) -> int:
    return int(ulid.translate(_AS_DIGITS), len(_ALPHABET))


def least_at(instant_us: int) -> str:
    """Return the smallest id of an instant; ids of earlier instants are smaller."""
    return _encode(max(instant_us // 1000, 0) << _RANDOM_BITS)


class UlidGenerator(PerProcess):
    """Makes ULIDs; threads may share it, and it survives a fork."""

    def __init__(
        self,
        clock: Clock | None = None,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._clock = clock or SystemClock()
        self._random_bits = random_bits
        self.stay_own()

    def _begin(self) -> None:
        # A child that continued from its parent's state would make the same ids.
        self._lock = threading.RLock()
        self._last = 0
        self._head = (-1, "")

    def new(self) -> str:
        """Return the next id, 26 characters, greater than every earlier one.

        Raises:
            OverflowError: The millisecond or the random part is used up.
        """
        return self.new_many(1)[0]

    def new_many(self, count: int) -> list[str]:
        """Return the next ``count`` ids in order.

        Raises:
            OverflowError: The millisecond or the random part is used up.
        """
        now_ms = self._clock.now_us() // 1000
        if self._pid != PID[0]:
            self.stay_own()
        with self._lock:
            before = None
            while before != self._last:  # a handler of a signal may mint some meanwhile
                before = self._last
                if now_ms > before >> _RANDOM_BITS:
                    first = now_ms << _RANDOM_BITS | self._random_bits(_RANDOM_BITS)
                else:  # the same millisecond, or the clock stepped back
                    first = before + 1
            last = first + count - 1
            if last > _MAX_ULID:
                raise OverflowError("the ULID space is used up")
            self._last = last
        head_value, head = self._head
        ids = []
        for value in range(first, last + 1):
            # All but the last characters are often those of the id before.
            if value >> _TAIL_BITS != head_value:
                head_value = value >> _TAIL_BITS
                # _encode() inlined, because almost every enqueue runs this.
                shifted = map(rshift, repeat(value), _HEAD_SHIFTS)
                head = "".join(map(_PAIR_AT, map(and_, shifted, _LOW)))
            ids.append(head + _PAIRS[value >> 10 & 0x3FF] + _PAIRS[value & 0x3FF])
        self._head = head_value, head
        return ids
