"""Histograms of durations: they merge, and so do the texts that they are stored as.

A text has five words: the sum; the buckets of the three percentiles that charts show,
so that one which shows this text alone reads nothing else of it; and in base64 the
number of the first bucket that holds anything, how many bits the largest count has, and
planes: the lowest byte of each count from the first bucket to the last, then the next
byte of each, as far as the largest one needs. Most counts are below 256, so that a
bucket takes one byte. A chart adds up thousands of such texts. Planes turn into one
large integer in a few steps, whatever the number of buckets, and such integers add up
as if all counts were added at once. Our own, because ``ddsketch`` is no longer
maintained and its sketches do not merge as texts.
"""

from __future__ import annotations

import math
import struct
from binascii import a2b_base64, b2a_base64
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import accumulate

# The percentiles that charts show.
CHARTED: tuple[float, ...] = (50, 95, 99)

_GAMMA = 1.04
_INDEXES_PER_UNIT = 1 / math.log(_GAMMA)
# Stands for values below one microsecond.
_ZERO = -1
_BYTE = 8
_HEAD = struct.Struct("<HB")
# How many bits a count may have while counts are added up, and what reads it.
_LANES = {_BYTE: "B", 16: "H", 32: "I", 64: "Q"}


class Histogram:
    """Durations in microseconds, in buckets that grow by 4 percent.

    Any number of histograms merge into the one that all their values would have made.
    A percentile is at most 2 percent away from the exact one. Merged texts are kept as
    they are until something needs more of them than percentiles.

    Args:
        counts: How many values lie in each bucket; none by default.
        sum_us: Exact sum of the values.
    """

    __slots__ = ("_counts", "_sum_us", "_texts")

    def __init__(self, counts: dict[int, int] | None = None, sum_us: int = 0) -> None:
        self._counts = {} if counts is None else counts
        self._sum_us = sum_us
        self._texts: list[str] | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return (self.counts, self.sum_us) == (other.counts, other.sum_us)

    __hash__ = None  # type: ignore[assignment]  # as for everything that changes

    def __repr__(self) -> str:
        return f"Histogram({self.counts!r}, {self.sum_us!r})"

    @property
    def counts(self) -> dict[int, int]:
        """How many values lie in each bucket."""
        if self._texts:
            texts, sum_us, self._texts = self._texts, self.sum_us, None
            counts = self._counts
            first, found = _added_up(texts)
            for index, count in enumerate(found, first):
                if count:
                    counts[index] = counts.get(index, 0) + count
            self._sum_us = sum_us
        return self._counts

    @property
    def sum_us(self) -> int:
        """Exact sum of the values."""
        return self._sum_us + sum(map(_sum_of, self._texts or ()))

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts.values())

    def record(self, value_us: int) -> None:
        """Add one value; a negative one counts as 0."""
        counts = self.counts
        index = _index_of(value_us)
        counts[index] = counts.get(index, 0) + 1
        self._sum_us += max(value_us, 0)

    def record_many(self, values_us: Iterable[int]) -> None:
        """Add values as :meth:`record` does, at a fraction of the cost for each.

        Once they are in order, one logarithm serves all values of a bucket.
        """
        counts = self.counts
        ordered = sorted(values_us)
        position = 0
        while position < len(ordered):
            index = _index_of(ordered[position])
            end = bisect_right(ordered, _largest_of(index), position)
            counts[index] = counts.get(index, 0) + end - position
            position = end
        self._sum_us += sum(ordered[bisect_right(ordered, 0) :])

    def merge(self, other: Histogram) -> None:
        """Add the values of another histogram."""
        counts = self._counts
        for index, count in other._counts.items():
            counts[index] = counts.get(index, 0) + count
        self._sum_us += other._sum_us
        if other._texts:
            self._texts = [*(self._texts or ()), *other._texts]

    def merge_times(self, other: Histogram, times: int) -> None:
        """Add the values of another histogram so many times over."""
        counts = self.counts
        for index, count in other.counts.items():
            counts[index] = counts.get(index, 0) + count * times
        self._sum_us += other.sum_us * times

    def percentiles(self, *percents: float) -> list[float]:
        """Return nearest-rank percentiles in microseconds, zeros without values.

        Args:
            percents: Such as 50, 95.
        """
        texts = self._texts
        if texts and not self._counts:
            if len(texts) == 1 and percents == CHARTED:
                return [_middle(int(word)) for word in texts[0].split(" ", 4)[1:4]]
            return [_middle(index) for index in _ranked(*_added_up(texts), percents)]
        if not self.counts:
            return [0.0] * len(percents)
        return [_middle(index) for index in _ranked(*self._dense(), percents)]

    def _dense(self) -> tuple[int, list[int]]:
        """Return the first index, and the counts of all buckets from there on."""
        counts = self.counts
        first = min(counts)
        return first, [counts.get(n, 0) for n in range(first, max(counts) + 1)]

    def counts_up_to(self, limits_us: Sequence[int]) -> list[int]:
        """Return how many values are at most each limit, to within 2 percent of it.

        Args:
            limits_us: Ascending.
        """
        pairs = sorted(self.counts.items())
        found, seen, position = [], 0, 0
        for limit_us in limits_us:
            while position < len(pairs) and _middle(pairs[position][0]) <= limit_us:
                seen += pairs[position][1]
                position += 1
            found.append(seen)
        return found

    def encode(self) -> str:
        """Return the text of this histogram, empty for an empty one.

        Equal histograms have equal texts.
        """
        texts = self._texts
        if texts and len(texts) == 1 and not self._counts:
            return texts[0]
        if not self.counts:
            return ""
        first, counts = self._dense()
        size = max(counts).bit_length()
        planes = [
            bytes([count >> shift & 0xFF for count in counts])
            for shift in range(0, size, _BYTE)
        ]
        body = b"".join([_HEAD.pack(first - _ZERO, size), *planes])
        text = b2a_base64(body, newline=False).decode("ascii")
        words = [self.sum_us, *_ranked(first, counts, CHARTED)]
        return " ".join([*map(str, words), text])

    @classmethod
    def decode(cls, text: str) -> Histogram:
        """Return the histogram of a text made by :meth:`encode`."""
        histogram = cls()
        histogram.merge_text(text)
        return histogram

    def merge_text(self, text: str) -> None:
        """Merge an encoded histogram."""
        if not text:
            return
        if self._texts is None:
            self._texts = [text]
        else:
            self._texts.append(text)


def _ranked(first: int, counts: Sequence[int], percents: Iterable[float]) -> list[int]:
    """Return the indexes of percentiles among the counts from a first index on."""
    ranks = list(accumulate(counts))
    return [
        first + bisect_left(ranks, max(math.ceil(percent * ranks[-1] / 100), 1))
        for percent in percents
    ]


def _index_of(value_us: int) -> int:
    """Return in which bucket a value lies."""
    if value_us <= 0:
        return _ZERO
    return math.ceil(math.log(value_us) * _INDEXES_PER_UNIT)


@cache
def _largest_of(index: int) -> int:
    """Return the largest value of a bucket that holds one, in microseconds."""
    if index == _ZERO:
        return 0
    value_us = int(_GAMMA**index)
    # The power and the logarithm are not exact; the logarithm decides.
    while _index_of(value_us) > index:
        value_us -= 1
    while _index_of(value_us + 1) <= index:
        value_us += 1
    return value_us


@cache
def _middle(index: int) -> float:
    """Return the value that is as far from both ends of a bucket, relatively."""
    return 0.0 if index == _ZERO else 2 * _GAMMA**index / (_GAMMA + 1)


def _sum_of(text: str) -> int:
    return int(text.partition(" ")[0])


def _added_up(texts: Sequence[str]) -> tuple[int, Sequence[int]]:
    """Return the first index, and the counts of all buckets from there on."""
    bodies = [a2b_base64(text[text.rindex(" ") :]) for text in texts]
    if len(bodies) == 1 and bodies[0][2] <= _BYTE:
        (body,) = bodies
        return int.from_bytes(body[:2], "little") + _ZERO, body[_HEAD.size :]
    heads = [_HEAD.unpack_from(body) for body in bodies]
    firsts, sizes = zip(*heads, strict=True)
    least = min(firsts)
    # Without a carry from one count to the next, whatever they are.
    needed = max(sizes) + (len(texts) - 1).bit_length()
    bits = next(bits for bits in _LANES if bits >= needed)
    total = 0
    for body, (first, size) in zip(bodies, heads, strict=True):
        lanes = body[_HEAD.size :] if bits == _BYTE else _spread(body, size, bits)
        total += int.from_bytes(lanes, "little") << bits * (first - least)
    length = -(-total.bit_length() // bits)
    found = total.to_bytes(length * bits // _BYTE, "little")
    if bits == _BYTE:
        return least + _ZERO, found
    return least + _ZERO, struct.unpack(f"<{length}{_LANES[bits]}", found)


def _spread(body: bytes, size: int, bits: int) -> bytearray:
    """Put the planes side by side, so that each count has its bytes together."""
    planes = -(-size // _BYTE)
    buckets = (len(body) - _HEAD.size) // planes
    width = bits // _BYTE
    lanes = bytearray(width * buckets)
    for plane in range(planes):
        start = _HEAD.size + plane * buckets
        lanes[plane::width] = body[start : start + buckets]
    return lanes
