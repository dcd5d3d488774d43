"""RetryPolicy: when a job whose task failed is tried again, and when it is not.

It counts where no operator has enabled the back-off of the job's queue; that comes
first, see :mod:`~flask_forge_jobs.model.retry_delay`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown

MAX_DELAY_S = 86_400.0 * 365

Errors = type[BaseException] | Collection[type[BaseException]]
ChooseDelay = Callable[[int, BaseException], float | timedelta]


@dataclass(frozen=True, slots=True)
class exponential:  # noqa: N801  # retry=exponential(30) reads as what it is
    """Delays that grow by a factor from one attempt to the next.

    Args:
        first_s: Seconds before the second attempt, more than 0.
        factor: How many times longer each further delay is, at least 1.
        max_s: The longest delay in seconds, at most 365 days.
        jitter: Part of the delay by which it differs at random, up or down, so that
            jobs that failed together do not come back together; 0 to 1.

    Raises:
        InvalidInputError: A value is outside its bounds.
    """

    first_s: float = 15.0
    factor: float = 4.0
    max_s: float = 86_400.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        """Check every value against its bounds."""
        _check("retry.max_s", self.max_s, 0.001, MAX_DELAY_S)
        _check("retry.first_s", self.first_s, 0.001, self.max_s)
        _check("retry.factor", self.factor, 1.0, 1e6)
        _check("retry.jitter", self.jitter, 0.0, 1.0)

    def delay_s(self, attempt: int, spread: Callable[[], float] | None) -> float:
        """Return the seconds after an attempt, from 1, that failed.

        Args:
            attempt: The attempt.
            spread: Returns a number in [0, 1) that stands for the jitter; None leaves
                it out.
        """
        try:
            delay_s = min(self.first_s * self.factor ** (attempt - 1), self.max_s)
        except OverflowError:
            delay_s = self.max_s
        if spread is None:
            return delay_s
        return delay_s * (1 + self.jitter * (2 * spread() - 1))


Retry = float | timedelta | Sequence[float | timedelta] | exponential | ChooseDelay


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What a task says of its retries.

    Args:
        delays: The delays; the last of a list goes for all further attempts.
        choose: Asked for the delay after an attempt that ended with an exception.
        retry_on: The only exceptions after which another attempt is made; None for any.
        dead_on: Exceptions after which none is made.
    """

    delays: exponential | tuple[float, ...] = field(default_factory=exponential)
    choose: ChooseDelay | None = None
    retry_on: tuple[type[BaseException], ...] | None = None
    dead_on: tuple[type[BaseException], ...] = ()

    @classmethod
    def of(
        cls,
        retry: Retry | None = None,
        retry_on: Errors | None = None,
        dead_on: Errors | None = None,
    ) -> RetryPolicy:
        """Return the policy that the options of a task stand for.

        Raises:
            InvalidInputError: An option is none of what it may be, or out of bounds.
        """
        is_function = callable(retry)
        return cls(
            exponential() if retry is None or is_function else _delays(retry),
            retry if is_function else None,  # type: ignore[arg-type]  # just asked
            None if retry_on is None else _types("retry_on", retry_on),
            () if dead_on is None else _types("dead_on", dead_on),
        )

    def is_final(self, error: BaseException) -> bool:
        """Whether no further attempt is made after an exception."""
        if isinstance(error, self.dead_on):
            return True
        return self.retry_on is not None and not isinstance(error, self.retry_on)

    def delay_s(self, attempt: int, spread: Callable[[], float] | None) -> float:
        """Return the seconds after an attempt, from 1, whoever ended it.

        Args:
            attempt: The attempt.
            spread: Returns a number in [0, 1) for the jitter; None leaves it out.
        """
        if isinstance(self.delays, exponential):
            return self.delays.delay_s(attempt, spread)
        return self.delays[min(max(attempt, 1), len(self.delays)) - 1]

    def chosen_s(self, attempt: int, error: BaseException) -> float | None:
        """Return what the application's function says; None where there is none.

        Raises:
            InvalidInputError: It says something that is no delay.
            Exception: Whatever it raises.
        """
        if self.choose is None:
            return None
        return _seconds("retry", self.choose(attempt, error))


def _delays(retry: Any) -> exponential | tuple[float, ...]:
    if isinstance(retry, exponential):
        return retry
    if not isinstance(retry, list | tuple):
        return (_seconds("retry", retry),)
    if not retry:
        raise InvalidInputError("retry", "is an empty list; give at least one delay")
    return tuple(_seconds(f"retry[{n}]", each) for n, each in enumerate(retry))


def _seconds(field: str, value: object) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    return _check(field, value, 0.0, MAX_DELAY_S)


def _check(field: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(field, f"{shown(value)} is not a number of seconds")
    if math.isnan(value) or not low <= value <= high:
        raise InvalidInputError(
            field, f"{shown(value)} is not within {low:g} to {high:g}"
        )
    return float(value)


def _types(field: str, errors: object) -> tuple[type[BaseException], ...]:
    given = errors if isinstance(errors, Collection) else (errors,)
    for each in given:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise InvalidInputError(field, f"{shown(each)} is not a type of exception")
    return tuple(given)


DEFAULT_RETRY = RetryPolicy()
