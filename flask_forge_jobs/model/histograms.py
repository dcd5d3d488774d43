"""Histograms of durations that merge, also as their stored texts.

A text has five words: the sum; the buckets of the three charted percentiles, so that a
chart of this text alone reads nothing else; and in base64 the number of the first used
bucket, the bits of the largest count, and byte planes: the lowest byte of each count
from the first bucket to the last, then the next byte of each, as far as the largest
count needs.

Most counts are below 256, so a bucket takes one byte. A chart adds up thousands of
texts: a few steps turn planes into one large integer, whatever the number of buckets,
and adding such integers adds all counts at once. Our own, because ``ddsketch`` is
unmaintained and its sketches do not merge as texts.
"""

from __future__ import annotations

import math
import struct
from binascii import a2b_base64, b2a_base64
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from itertools import accumulate

# The percentiles that charts show.
CHARTED: tuple[float, ...] = (50, 95, 99)

_GAMMA = 1.04
_INDEXES_PER_UNIT = 1 / math.log(_GAMMA)
# The bucket of values below one microsecond.
_ZERO = -1
_BYTE = 8
_HEAD = struct.Struct("<HB")
# Texts whose percentiles are kept, at most so many together.
_MAX_KEPT = 8
# Bits of a count while counts are added up, and the struct format that reads it.
_LANES = {_BYTE: "B", 16: "H", 32: "I", 64: "Q"}


class Histogram:
    """Durations in microseconds, in buckets that grow by 4 percent.

    Histograms merge into the one that all their values would have made. A percentile is
    at most 2 percent off. Merged texts stay encoded while only percentiles are needed.
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
        """Number of values in each bucket."""
        if self._texts:
            texts, sum_us, self._texts = self._texts, self.sum_us, None
            counts = self._counts
            first, sums = _added_up(texts)
            for index, count in enumerate(sums, first):
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
        """Number of values."""
        return sum(self.counts.values())

    def record_many(self, values_us: Iterable[int]) -> None:
        """Add values, one logarithm per bucket; a negative one counts as 0."""
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
        """Add the values of another histogram this many times."""
        counts = self.counts
        for index, count in other.counts.items():
            counts[index] = counts.get(index, 0) + count * times
        self._sum_us += other.sum_us * times

    def percentiles(self, *percents: float) -> list[float]:
        """Return nearest-rank percentiles in microseconds; zeros without values."""
        texts = self._texts
        if texts and not self._counts:
            if len(texts) == 1 and percents == CHARTED:
                return charted(texts[0])
            return [_middle(index) for index in _ranked_of(texts, percents)]
        if not self.counts:
            return [0.0] * len(percents)
        return [_middle(index) for index in _ranked(*self._dense(), percents)]

    def _dense(self) -> tuple[int, list[int]]:
        """Return the first bucket, and the counts of all buckets from it on."""
        counts = self.counts
        first = min(counts)
        return first, [counts.get(n, 0) for n in range(first, max(counts) + 1)]

    def charted_ms(self) -> Sequence[int]:
        """Return the percentiles of :data:`CHARTED` in whole milliseconds."""
        return [round(us / 1000) for us in self.percentiles(*CHARTED)]

    def counts_up_to(self, limits_us: Sequence[int]) -> list[int]:
        """Return how many values are at most each ascending limit, within 2 percent."""
        pairs = sorted(self.counts.items())
        counts, seen, position = [], 0, 0
        for limit_us in limits_us:
            while position < len(pairs) and _middle(pairs[position][0]) <= limit_us:
                seen += pairs[position][1]
                position += 1
            counts.append(seen)
        return counts

    def encode(self) -> str:
        """Return the histogram as text, equal for equal ones, "" for an empty one."""
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

    def merge_text(self, text: str) -> None:
        """Add the values of a text that :meth:`encode` made."""
        if not text:
            return
        if self._texts is None:
            self._texts = [text]
        else:
            self._texts.append(text)


def charted(text: str) -> list[float]:
    """Return the percentiles of :data:`CHARTED` in microseconds, from a stored text.

    Its first 60 characters will do.
    """
    return [_middle(int(word)) for word in text.split(" ", 4)[1:4]]


def charted_ms(text: str) -> Sequence[int]:
    """Return the same in whole milliseconds; zeros for an empty text."""
    if not text:
        return _ZEROS
    _, middle, high, highest, _ = text.split(" ", 4)
    return _milliseconds(middle), _milliseconds(high), _milliseconds(highest)


def charted_ms_of(texts: Iterable[str]) -> Sequence[int]:
    """Return the same of several texts together."""
    full = [text for text in texts if text]
    if len(full) > 1:
        return [_milliseconds(index) for index in _ranked_of(full, CHARTED)]
    return charted_ms(full[0] if full else "")


_ZEROS = (0,) * len(CHARTED)


@cache
def _milliseconds(index: int | str) -> int:
    return round(_middle(int(index)) / 1000)


def _ranked(first: int, counts: Sequence[int], percents: Iterable[float]) -> list[int]:
    """Return the buckets of percentiles, for counts from a first bucket on."""
    ranks = list(accumulate(counts))
    return [
        first + bisect_left(ranks, max(math.ceil(percent * ranks[-1] / 100), 1))
        for percent in percents
    ]


def _ranked_of(texts: Sequence[str], percents: tuple[float, ...]) -> list[int]:
    """Return the buckets of percentiles of several texts together."""
    if len(texts) > _MAX_KEPT:
        return _ranked(*_added_up(texts), percents)
    return _kept_ranked_of(tuple(texts), percents)


@lru_cache(maxsize=1024)
def _kept_ranked_of(texts: tuple[str, ...], percents: tuple[float, ...]) -> list[int]:
    # Most buckets of a chart are over, and every look reads them again.
    return _ranked(*_added_up(texts), percents)


def _index_of(value_us: int) -> int:
    """Return the bucket of a value."""
    if value_us <= 0:
        return _ZERO
    return math.ceil(math.log(value_us) * _INDEXES_PER_UNIT)


@cache
def _largest_of(index: int) -> int:
    """Return the largest value of a bucket, in microseconds."""
    if index == _ZERO:
        return 0
    value_us = int(_GAMMA**index)
    # Power and logarithm are inexact; the logarithm decides.
    while _index_of(value_us) > index:
        value_us -= 1
    while _index_of(value_us + 1) <= index:
        value_us += 1
    return value_us


@cache
def _middle(index: int) -> float:
    """Return the value with the same relative distance to both ends of a bucket."""
    return 0.0 if index == _ZERO else 2 * _GAMMA**index / (_GAMMA + 1)


def _sum_of(text: str) -> int:
    return int(text.partition(" ")[0])


def _added_up(texts: Sequence[str]) -> tuple[int, Sequence[int]]:
    """Return the first bucket, and the summed counts of all buckets from it on."""
    bodies = [a2b_base64(text[text.rindex(" ") :]) for text in texts]
    if len(bodies) == 1 and bodies[0][2] <= _BYTE:
        (body,) = bodies
        return int.from_bytes(body[:2], "little") + _ZERO, body[_HEAD.size :]
    heads = [_HEAD.unpack_from(body) for body in bodies]
    least = min(heads)[0]
    # Wide enough that no sum carries into the next count.
    largest = sum([(1 << size) - 1 for _, size in heads])
    bits = next(bits for bits in _LANES if largest >> bits == 0)
    total = small = used = 0
    for body, (first, size) in zip(bodies, heads, strict=True):
        if size > _BYTE:
            lanes = int.from_bytes(_spread(body[_HEAD.size :], size, bits), "little")
            total += lanes << bits * (first - least)
            continue
        # Small counts add up in their bytes, as many texts as cannot carry.
        max_count = (1 << size) - 1
        if used + max_count >> _BYTE:
            total += _widened(small, bits)
            small = used = 0
        small += int.from_bytes(body[_HEAD.size :], "little") << _BYTE * (first - least)
        used += max_count
    total += _widened(small, bits)
    length = -(-total.bit_length() // bits)
    summed = total.to_bytes(length * bits // _BYTE, "little")
    if bits == _BYTE:
        return least + _ZERO, summed
    return least + _ZERO, struct.unpack(f"<{length}{_LANES[bits]}", summed)


def _widened(small: int, bits: int) -> int:
    """Return counts of a byte each in lanes of so many bits."""
    if bits == _BYTE:
        return small
    planes = small.to_bytes(-(-small.bit_length() // _BYTE), "little")
    return int.from_bytes(_spread(planes, _BYTE, bits), "little")


def _spread(planes_of: bytes, size: int, bits: int) -> bytearray:
    """Interleave the planes, so that the bytes of each count are adjacent."""
    planes = -(-size // _BYTE)
    buckets = len(planes_of) // planes
    width = bits // _BYTE
    lanes = bytearray(width * buckets)
    for plane in range(planes):
        start = plane * buckets
        lanes[plane::width] = planes_of[start : start + buckets]
    return lanes
