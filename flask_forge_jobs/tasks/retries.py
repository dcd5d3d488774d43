"""RetryPolicy: whether and when a failed job is retried.

If an operator has enabled the back-off of the job's queue, that decides the delay; see
:mod:`~flask_forge_jobs.model.queues`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_seconds, shown
from flask_forge_jobs.tasks.other_words import OF_DELAYS, teach

MAX_DELAY_S = 86_400.0 * 365

Errors = type[BaseException] | Collection[type[BaseException]]
ChooseDelay = Callable[[int, BaseException], float | timedelta]


@dataclass(frozen=True, slots=True)
class exponential:  # noqa: N801  # reads well as retry=exponential(30)
    """Delays that grow by a factor with each attempt.

    For example, ``@forge.task(retry=exponential(30, factor=2))`` waits about 30 s, 1
    min, 2 min and 4 min.

    Args:
        first_s: Seconds before the second attempt, more than 0; default 15.
        factor: How much longer each further delay is, at least 1; default 4.
        max_s: The longest delay in seconds, at most 365 days; default one day.
        jitter: Random part of the delay, up or down, 0 to 1, so that jobs that failed
            together are not retried together; default 0.1.

    Raises:
        InvalidInputError: A value is out of bounds.
    """

    first_s: float = 15.0
    factor: float = 4.0
    max_s: float = 86_400.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        check_seconds("retry.max_s", self.max_s, 0.001, MAX_DELAY_S)
        check_seconds("retry.first_s", self.first_s, 0.001, self.max_s)
        check_seconds("retry.factor", self.factor, 1.0, 1e6)
        check_seconds("retry.jitter", self.jitter, 0.0, 1.0)

    def delay_s(self, attempt: int, spread: Callable[[], float] | None) -> float:
        """Return the seconds to wait after a failed attempt, from 1.

        Args:
            attempt: The attempt.
            spread: Returns a random number in [0, 1); None for no jitter.
        """
        try:
            delay_s = min(self.first_s * self.factor ** (attempt - 1), self.max_s)
        except OverflowError:
            delay_s = self.max_s
        if spread is None:
            return delay_s
        return delay_s * (1 + self.jitter * (2 * spread() - 1))


teach(exponential, OF_DELAYS)
Retry = float | timedelta | Sequence[float | timedelta] | exponential | ChooseDelay


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The retry options of a task; ``choose`` is its retry function."""

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
        """Return the policy for the options of a task."""
        # A class that is no function of both is most likely ``exponential`` itself.
        is_function = callable(retry) and not isinstance(retry, type)
        if is_function:
            _check_function(retry)
        return cls(
            exponential() if retry is None or is_function else _delays(retry),
            retry if is_function else None,  # type: ignore[arg-type]  # just asked
            None if retry_on is None else _types("retry_on", retry_on),
            () if dead_on is None else _types("dead_on", dead_on),
        )

    def is_final(self, error: BaseException) -> bool:
        """Whether an exception ends the job."""
        if isinstance(error, self.dead_on):
            return True
        return self.retry_on is not None and not isinstance(error, self.retry_on)

    def delay_s(self, attempt: int, spread: Callable[[], float] | None) -> float:
        """Return the seconds to wait after a failed attempt, from 1."""
        if isinstance(self.delays, exponential):
            return self.delays.delay_s(attempt, spread)
        return self.delays[min(max(attempt, 1), len(self.delays)) - 1]

    def chosen_s(self, attempt: int, error: BaseException) -> float | None:
        """Return the delay that the retry function chooses; None without one."""
        if self.choose is None:
            return None
        return _seconds("retry", self.choose(attempt, error))


def _check_function(choose: Any) -> None:
    try:
        inspect.signature(choose).bind(1, ValueError())
    except TypeError:
        raise InvalidInputError(
            "retry", "must take an attempt and an exception"
        ) from None
    except ValueError:
        pass  # of a built-in function nothing is known


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
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(
            field,
            f"{shown(value)} is no delay; give seconds (30), a timedelta, a list of "
            "them ([10, 60]), exponential(30), or a function of attempt and exception",
        )
    return float(check_seconds(field, value, 0.0, MAX_DELAY_S))


def _types(field: str, errors: object) -> tuple[type[BaseException], ...]:
    is_several = isinstance(errors, Collection) and not isinstance(errors, str)
    given: Any = errors if is_several else (errors,)
    for each in given:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise InvalidInputError(field, f"{shown(each)} is not a type of exception")
    return tuple(given)


DEFAULT_RETRY = RetryPolicy()
