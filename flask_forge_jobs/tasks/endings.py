"""Turns the result or the exception of a function into the outcome of its job."""

from __future__ import annotations

from dataclasses import replace
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.outcomes import (
    MAX_RESULT_BYTES,
    Dead,
    Done,
    Failed,
    Outcome,
    Snooze,
    Throttled,
    clip,
)
from flask_forge_jobs.model.payloads import dump, load_text
from flask_forge_jobs.tasks.failures import (
    describe_cause,
    describe_failure,
    trace_of,
    traceback_of,
)
from flask_forge_jobs.tasks.other_words import OF_DEAD, OF_PAUSES, teach

if TYPE_CHECKING:
    from flask_forge_jobs.tasks.context import TaskContext
    from flask_forge_jobs.tasks.retries import RetryPolicy

logger = get_logger(__name__)
teach(Dead, OF_DEAD)
teach(Throttled, OF_PAUSES)
teach(Snooze, OF_PAUSES)

_DONE = Done()  # frozen, so that all runs can share it
_NOT_RUN = (
    "the task returned a generator, whose code does not run; loop over it in the task"
)


def of_value(context: TaskContext, value: object) -> Outcome:
    """Return the outcome that a returned value stands for."""
    if value is None:
        return _DONE
    if isinstance(value, Throttled | Dead | Failed):
        return _storable(value)
    if isinstance(value, GeneratorType | AsyncGeneratorType):
        return Dead(_NOT_RUN)  # a retry would return the same
    try:
        if isinstance(value, Done):
            if value.result is None:
                return value
            value = _loaded(value.result)
        return Done(dump(value, "result", MAX_RESULT_BYTES))
    except InvalidInputError as error:
        # The work is done, and a retry would return the same.
        logger.warning("cannot store the result of job %s: %s", context.job_id, error)
        return Done(result_error=clip(error.message))


def _loaded(text: object) -> object:
    if not isinstance(text, str):
        raise InvalidInputError("result", "is not JSON text; return the value")
    return load_text(text, "result")


def of_error(
    context: TaskContext, policy: RetryPolicy, error: BaseException
) -> Outcome:
    """Return the outcome that an exception stands for."""
    if isinstance(error, Throttled):
        return _storable(error)
    trace = traceback_of(error, context.mask)
    if isinstance(error, Dead):
        return Dead(clip(str(error.message)), trace)
    message = describe_failure(error)
    if context.cancel.is_cancelled:  # it stopped as asked
        return Failed(message, traceback=trace)
    if policy.is_final(error):
        return Dead(message, trace)
    return Failed(message, _chosen_s(context, policy, error), trace)


def _chosen_s(
    context: TaskContext, policy: RetryPolicy, error: BaseException
) -> float | None:
    """Return the delay that the task's retry function chooses, if it has one."""
    try:
        return policy.chosen_s(context.attempt, error)
    except BaseException as wrong:  # noqa: BLE001  # the application's function
        trace = trace_of(wrong, context.mask)
        logger.warning(
            "the retry function of %s failed: %s", one_line(context.kind), trace
        )
        return None


def _storable(outcome: Dead | Throttled | Failed) -> Outcome:
    """Return an outcome with texts that both databases accept."""
    if isinstance(outcome, Dead):
        return Dead(clip(str(outcome.message)))
    if isinstance(outcome, Failed):
        return replace(outcome, message=clip(str(outcome.message)))
    if getattr(outcome, "reason", None) is None:  # a subclass may not set it
        outcome.reason = describe_cause(outcome)
    return outcome
