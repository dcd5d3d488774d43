from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from flask_forge_jobs.model.outcomes import MAX_ERROR_BYTES
from flask_forge_jobs.tasks.failures import (
    MAX_FRAMES,
    MAX_TRACEBACK_BYTES,
    describe_failure,
    forget_frames,
    mask_known,
    traceback_of,
)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """Return an error that has been through a ``raise``."""

    def fail() -> None:
        raise error from cause

    return caught_from(fail)


def with_context(outer: BaseException, inner: BaseException) -> BaseException:
    """Return an error that was raised while another one was handled."""

    def fail() -> None:
        raise inner

    def fail_again() -> None:
        try:
            fail()
        finally:
            raise outer

    return caught_from(fail_again)


def caught_from(fail: Callable[[], None]) -> BaseException:
    try:
        fail()
    except BaseException as caught:  # noqa: BLE001  # any kind is wanted
        return caught
    raise AssertionError("nothing was raised")


def test_chain_walks_every_source() -> None:
    """Reference case ``chain_walks_every_source``."""
    middle = raised(ValueError("middle"), raised(KeyError("root")))

    assert describe_failure(raised(OSError("top"), middle)) == (
        "OSError: top: ValueError: middle: KeyError: 'root'"
    )


def test_chain_returns_just_top_when_no_source() -> None:
    """Reference case ``chain_returns_just_top_when_no_source``."""
    assert describe_failure(raised(KeyError("id"))) == "KeyError: 'id'"


def test_context_is_followed_unless_it_is_suppressed() -> None:
    shown = with_context(ValueError("top"), OSError("root"))
    hidden = with_context(ValueError("top"), OSError("root"))
    hidden.__suppress_context__ = True

    assert describe_failure(shown) == "ValueError: top: OSError: root"
    assert describe_failure(hidden) == "ValueError: top"


@pytest.mark.parametrize("error", [ValueError(), StopIteration(), KeyboardInterrupt()])
def test_an_error_without_text_is_named_by_its_class(error: BaseException) -> None:
    assert describe_failure(raised(error)) == type(error).__name__


@pytest.mark.parametrize("inner", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_error_whose_text_cannot_be_had_is_named_by_its_class(
    inner: type[BaseException],
) -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise inner

    assert describe_failure(raised(UnprintableError())) == "UnprintableError"


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first

    assert describe_failure(first) == "ValueError: a: ValueError: b"
    forget_frames(first)


def test_an_endless_chain_is_cut() -> None:
    error: BaseException = ValueError("0")
    for number in range(1, 5000):
        error = raised(ValueError(str(number)), error)

    assert describe_failure(error).count("ValueError: ") == 20
    forget_frames(error)


def test_text_is_storable_and_at_most_8_kib() -> None:
    text = describe_failure(raised(ValueError("\x00\ud800" + "é" * 5_000_000)))

    assert "\x00" not in text
    assert len(text.encode()) <= MAX_ERROR_BYTES


def test_a_group_names_its_members() -> None:
    group = ExceptionGroup("two failed", [ValueError("one"), OSError()])

    assert describe_failure(group) == (
        "ExceptionGroup: two failed (2 sub-exceptions) [ValueError: one; OSError]"
    )


def deep(levels: int, error: BaseException) -> None:
    if levels:
        deeper(levels - 1, error)
    raise error


def deeper(levels: int, error: BaseException) -> None:
    # Lines of one function that calls itself would be shown together.
    deep(levels, error)


def traced(error: BaseException, levels: int = 0) -> str:
    return traceback_of(caught_from(lambda: deep(levels, error)), mask_known)


def test_a_traceback_ends_with_class_and_text() -> None:
    first, *_, last = traced(KeyError("id")).splitlines()

    assert first == "Traceback (most recent call last):"
    assert last == "KeyError: 'id'"


def test_a_traceback_has_the_last_20_frames() -> None:
    text = traced(KeyError("id"), levels=50)

    assert text.count(", in deep") == MAX_FRAMES
    assert "in caught_from" not in text


def test_a_traceback_has_its_causes() -> None:
    text = traced(raised(OSError("top"), raised(KeyError("root"))))

    assert text.index("KeyError: 'root'") < text.index("OSError: top")


def test_of_a_long_traceback_the_end_stays() -> None:
    text = traced(ValueError("x" * 100_000 + "\n" + "é" * 200 + " the end"))

    assert len(text.encode()) <= MAX_TRACEBACK_BYTES
    assert text.endswith(" the end")


def test_a_traceback_is_masked_and_steers_no_terminal() -> None:
    text = traced(ValueError("password=hunter2\x1b[2J\u202e\rroot logged in"))

    assert "hunter2" not in text
    assert "password=[redacted]" in text
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("before", ["", "x" * 100 + "\n"], ids=["one", "two"])
def test_a_traceback_shows_nothing_of_a_line_whose_begin_is_cut(before: str) -> None:
    """What says that it is a secret may be what is cut off."""
    text = traced(ValueError(f"{before}password={'hunter2' * 10_000}"))

    assert "hunter2" not in text
    assert text


def test_a_traceback_of_an_error_that_cannot_be_shown_names_it() -> None:
    class HostileError(Exception):
        def __str__(self) -> str:
            raise SystemExit

    assert "HostileError" in traced(HostileError())


def test_frames_are_dropped_so_locals_are_freed_without_the_collector() -> None:
    class Large:
        pass

    def fail() -> None:
        large = Large()
        alive.append(weakref.ref(large))
        raise ValueError("x")

    alive: list[weakref.ref[Large]] = []
    gc.disable()
    try:
        kept = caught_from(fail)
        assert alive[0]() is not None
        forget_frames(kept)
        assert alive[0]() is None
    finally:
        gc.enable()


def test_frames_are_dropped_everywhere_an_error_leads_to() -> None:
    context = raised(OSError("context"))
    cause = raised(OSError("cause"))
    member = raised(OSError("member"))
    group = raised(BaseExceptionGroup("group", [member]), cause)
    group.__context__ = context

    forget_frames(group)

    for error in (group, context, cause, member):
        assert error.__traceback__ is None


def test_frames_of_an_error_that_cannot_be_changed_are_dropped() -> None:
    @dataclass(frozen=True)
    class RefusedError(Exception):
        code: str

    error = raised(RefusedError("insufficient_funds"))

    forget_frames(error)

    assert error.__traceback__ is None
