from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.ids import UlidGenerator, least_at, runs
from tests.support.clocks import MovingClock
from tests.support.processes import Child, fork_in_c, in_child

ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


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


def test_the_least_id_of_an_instant_parts_those_before_from_those_after() -> None:
    before, after = 1_469_918_176_384_999, 1_469_918_176_385_000

    last = UlidGenerator(MovingClock(before), lambda bits: 2**bits - 1).new()
    first = UlidGenerator(MovingClock(after), lambda _bits: 0).new()

    assert last < least_at(after) <= first
    assert least_at(-1) == "0" * 26


def test_ids_of_a_handler_within_the_minting_of_others_are_new() -> None:
    """A handler of a signal runs between two steps of its thread."""
    ids: list[str] = []

    def interrupted(bits: int) -> int:
        if not ids:
            ids.append("")
            ids[:] = generator.new_many(3)
        return 1 << bits - 1

    generator = UlidGenerator(MovingClock(), interrupted)

    outer = generator.new_many(3)

    assert len({*ids, *outer}) == 6


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


@pytest.mark.parametrize("fork", [os.fork, fork_in_c])
def test_parent_and_child_of_a_fork_never_mint_the_same_id(
    fork: Callable[[], int],
) -> None:
    """Both would count up from one last id if the child kept its parent's state."""
    generator = UlidGenerator(MovingClock())
    generator.new()

    child = Child(
        lambda parent: parent.say(" ".join(generator.new() for _ in range(50))), fork
    )
    inherited = set(child.hear().split())
    assert child.end() == 0

    assert len(inherited) == 50
    assert inherited.isdisjoint({generator.new() for _ in range(50)})


@pytest.mark.parametrize("fork", [os.fork, fork_in_c])
def test_a_lock_that_was_held_at_the_fork_does_not_block_the_child(
    fork: Callable[[], int],
) -> None:
    generator = UlidGenerator(MovingClock())

    def mint() -> None:
        # Ends a child that waits for ever; its parent then sees the signal.
        signal.alarm(10)
        generator.new()

    with generator._lock:
        assert in_child(mint, fork) == 0


def test_runs_are_consecutive_numbers() -> None:
    ids = UlidGenerator().new_many(100)

    assert runs([]) == []
    assert runs(ids) == [(ids[0], ids[-1])]
    assert runs([*ids[:3], *ids[4:7], ids[50]]) == [
        (ids[0], ids[2]), (ids[4], ids[6]), (ids[50], ids[50]),
    ]  # fmt: skip


@given(st.sets(st.integers(0, 60)))
def test_runs_hold_what_they_were_made_of(chosen: set[int]) -> None:
    ids = UlidGenerator().new_many(61)
    given_ids = [ids[number] for number in sorted(chosen)]

    found = runs(given_ids)

    assert [each for first, last in found for each in ids if first <= each <= last] == (
        given_ids
    )
    assert all(
        ids.index(last) + 1 < ids.index(first)
        for (_, last), (first, _) in pairwise(found)
    )
