"""Finds the place of a deep page by counting index entries, not by reading jobs.

An offset is a number of jobs, and an index knows instants. So an instant is guessed,
the jobs newer than it are counted, and the guess is improved until only few jobs are
left to be skipped one by one.
"""

from __future__ import annotations

from collections.abc import Callable

# So many jobs may be left to be skipped one by one.
NEAR = 500
_GUESSES = 5
# Halving thirty years of microseconds takes fifty.
_MAX_STEPS = 60
# Guesses aim a little short: what is counted up to there is never counted again.
_AIM_PERCENT = 98


def seek(
    count: Callable[[int, int], int],
    *,
    newest: int,
    oldest: int,
    total: int,
    offset: int,
) -> tuple[int, int]:
    """Return an instant near a place, and how many jobs are newer than it.

    Args:
        count: Returns how many jobs are newer than its first argument and not newer
            than its second.
        newest: Instant of the newest job.
        oldest: Instant of the oldest job.
        total: How many jobs there are.
        offset: The place: how many jobs come before it, the newest first. It is never
            passed; jobs of one instant are never told apart.
    """
    upper, above = newest, 0
    lower, below = oldest - 1, total
    for step in range(_MAX_STEPS):
        left = offset - above
        if left <= NEAR or upper - lower <= 1:
            break
        guess = (upper + lower) // 2
        if step < _GUESSES:
            # As if the jobs between were spread evenly.
            share = (upper - lower) * left * _AIM_PERCENT // 100
            guess = upper - share // max(below - above, 1)
        guess = min(max(guess, lower + 1), upper - 1)
        newer = above + count(guess, upper)
        if newer <= offset:
            upper, above = guess, newer
        else:
            lower, below = guess, newer
    return upper, above
