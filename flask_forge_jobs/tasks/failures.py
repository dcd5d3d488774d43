"""From an exception to the text that is stored with the job."""

from __future__ import annotations

from collections.abc import Iterator

from flask_forge_jobs.model.outcomes import clip

_LONGEST_CHAIN = 20


def describe_failure(error: BaseException) -> str:
    """Return the whole cause chain joined by ``": "``, outermost first.

    An exception without text is named by its class. The text is cut at 8 KiB and holds
    no character that a database refuses.
    """
    return clip(": ".join(_text(each) for each in _chain(error)))


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of a cause chain, which keep every local variable alive."""
    for each in _chain(error):
        each.__traceback__ = None


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
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # whatever a stranger's __str__ may raise
        text = ""
    return text or type(error).__name__
