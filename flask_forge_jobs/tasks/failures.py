"""Turns an exception into the text that is stored with the job and logged.

An exception may quote its input, so secrets are masked, and line breaks and control
characters escaped.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.masking import KNOWN, Mask, Masked
from flask_forge_jobs.model.outcomes import MAX_ERROR_BYTES, clip

_LONGEST_CHAIN = 20
_MAX_MEMBERS = 8
# More than is kept, because a secret that is cut would not be recognised.
_LOOKED_AT = 2 * MAX_ERROR_BYTES
_LONGEST_TRACE = 4000
MAX_FRAMES = 20
MAX_TRACEBACK_BYTES = 8192
_LONGEST_LINE = 500
_OURS = f"{Path(__file__).parents[1]}{os.sep}"
_STANDARD = Path(traceback.__file__).parent
# The code that runs a task, and between this package and a coroutine.
_ABOVE = (_OURS, *(f"{_STANDARD / name}{os.sep}" for name in ("asyncio", "concurrent")))
mask_known: Mask = KNOWN.text


def fit(text: object, mask: Mask) -> Masked:
    """Return an error's text for storage: masked, one line, at most 8 KiB."""
    if isinstance(text, Masked):
        return text
    shown = mask(str(text)[:_LOOKED_AT])
    return Masked(clip(one_line(shown, MAX_ERROR_BYTES)))


def trace_of(error: BaseException, mask: Mask) -> str:
    """Return the end of an exception's traceback as one masked line."""
    try:
        lines = "".join(traceback.format_exception(error)).strip()
    except BaseException:  # noqa: BLE001  # a foreign __str__ may raise anything
        lines = type(error).__name__
    shown = mask(_end_of(lines))
    return one_line(shown[-_LONGEST_TRACE:], _LONGEST_TRACE)


def traceback_of(error: BaseException, mask: Mask) -> str:
    """Return the masked traceback of an exception, for storage and log.

    It has the last 20 frames of the exception and of each cause, without those of this
    package, and at most 8 KiB.
    """
    try:
        shown_error = traceback.TracebackException(
            type(error), error, below_ours(error), limit=-2 * MAX_FRAMES, compact=True
        )
        _leave_out_ours(shown_error)
        text = "".join(shown_error.format()).rstrip()
    except BaseException:  # noqa: BLE001  # a foreign __str__ may raise anything
        text = type(error).__name__
    lines = mask(_end_of(text)).split("\n")
    shown = "\n".join(one_line(line, _LONGEST_LINE) for line in lines).encode()
    return Masked(shown[-MAX_TRACEBACK_BYTES:].decode("utf-8", "ignore"))


def _end_of(text: str) -> str:
    """Return the last lines of a text, each with its start, which may mark a secret."""
    lines = "\n".join(line[: 2 * _LONGEST_LINE] for line in text.split("\n"))
    if len(lines) <= _LOOKED_AT:
        return lines
    return lines[-_LOOKED_AT:].partition("\n")[2]


def below_ours(error: BaseException) -> TracebackType | None:
    """Return the traceback from the task on; all of it if no frame is the task's."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_ABOVE):
        frame = frame.tb_next
    return error.__traceback__ if frame is None else frame


def _leave_out_ours(outermost: traceback.TracebackException) -> None:
    """Drop our own frames and all but the last 20, also of causes and members."""
    waiting: list[traceback.TracebackException | None] = [outermost]
    while waiting:
        each = waiting.pop()
        if each is None:
            continue
        theirs = [line for line in each.stack if not line.filename.startswith(_OURS)]
        each.stack[:] = (theirs or each.stack)[-MAX_FRAMES:]
        waiting += (each.__cause__, each.__context__, *(each.exceptions or ()))


def describe_failure(error: BaseException) -> str:
    """Return class and text of an exception and its causes, such as ``KeyError: 'id'``.

    The outermost comes first, and a group lists its members. The text is cut at 8 KiB
    and holds no character that a database refuses.
    """
    return clip(": ".join(_text(each) for each in _chain(error)))


def describe_cause(error: BaseException) -> str | None:
    """Return the same for the causes of an exception, or None."""
    causes = list(_chain(error))[1:]
    return clip(": ".join(_text(each) for each in causes)) if causes else None


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of an exception, its causes and members: they keep locals."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        # Not by assignment, which a frozen dataclass refuses.
        BaseException.with_traceback(each, None)
        waiting += (each.__cause__, each.__context__)
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while (
        current is not None and id(current) not in seen and len(seen) < _LONGEST_CHAIN
    ):
        seen.add(id(current))
        yield current
        following = current.__cause__
        if following is None and not current.__suppress_context__:
            following = current.__context__
        current = following


def _text(error: BaseException) -> str:
    text = _own_text(error)
    if not isinstance(error, BaseExceptionGroup):
        return text
    members = [_own_text(each) for each in error.exceptions[:_MAX_MEMBERS]]
    return f"{text} [{'; '.join(members)}]"


def _own_text(error: BaseException) -> str:
    try:
        text = str(error)[:MAX_ERROR_BYTES]
    except BaseException:  # noqa: BLE001  # a foreign __str__ may raise anything
        text = ""
    name = type(error).__name__
    return f"{name}: {text}" if text else name
