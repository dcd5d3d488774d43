from __future__ import annotations

import os
import re
import signal
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.ids import UlidGenerator
from tests.support.clocks import MovingClock

ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


# The children below do nothing but mint; threads of other tests do not matter to them.
fork_is_wanted = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def test_id_is_a_ulid_of_its_millisecond() -> None:
    clock = MovingClock(1_469_918_176_385_000)

    first = UlidGenerator(clock, lambda _bits: 0).new()
    last = UlidGenerator(clock, lambda bits: 2**bits - 1).new()

    # The example of the specification.
    assert first == "01ARYZ6S410000000000000000"
    assert last == "01ARYZ6S41ZZZZZZZZZZZZZZZZ"
    assert ULID.fullmatch(UlidGenerator().new())


@given(st.lists(st.integers(-5_000, 5_000), max_size=50))
def test_ids_increase_whatever_the_clock_does(steps_ms: list[int]) -> None:
    clock = MovingClock()
    generator = UlidGenerator(clock)
    ids = [generator.new()]

    for step_ms in steps_ms:
        clock.move(step_ms / 1000)
        ids.append(generator.new())

    assert ids == sorted(set(ids))


def test_threads_never_get_the_same_id() -> None:
    generator = UlidGenerator(MovingClock())
    ids: list[list[str]] = [[] for _ in range(8)]

    def mint(own: list[str]) -> None:
        own.extend(generator.new() for _ in range(2000))

    threads = [threading.Thread(target=mint, args=(own,)) for own in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({each for own in ids for each in own}) == 16_000
    assert all(own == sorted(own) for own in ids)


def test_a_used_up_space_fails_instead_of_wrapping() -> None:
    """The specification of ULIDs demands it."""
    clock = MovingClock((2**48 - 1) * 1000)
    generator = UlidGenerator(clock, lambda bits: 2**bits - 2)
    generator.new()
    generator.new()

    with pytest.raises(OverflowError):
        generator.new()


def test_a_used_up_random_part_carries_into_the_milliseconds() -> None:
    generator = UlidGenerator(MovingClock(), lambda bits: 2**bits - 1)

    first, second = generator.new(), generator.new()

    assert second > first


@fork_is_wanted
def test_parent_and_child_of_a_fork_never_mint_the_same_id() -> None:
    """Both would count up from one last id if the child kept its parent's state."""
    generator = UlidGenerator(MovingClock())
    generator.new()
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(writing, "".join(generator.new() for _ in range(50)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)

    inherited = {text[at : at + 26] for at in range(0, len(text), 26)}
    assert len(inherited) == 50
    assert inherited.isdisjoint({generator.new() for _ in range(50)})


@fork_is_wanted
def test_a_lock_that_was_held_at_the_fork_does_not_block_the_child() -> None:
    generator = UlidGenerator(MovingClock())

    with generator._lock:
        child = os.fork()
        if child == 0:
            # Ends a child that waits for ever; its parent then sees the signal.
            signal.alarm(10)
            generator.new()
            os._exit(0)

    assert os.waitpid(child, 0) == (child, 0)
