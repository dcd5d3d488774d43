"""Runs mutants: the nearest tests without a mistake first, then with each of them."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.mutants.copies import Copy, Run
from tests.mutants.mutant import Mutant

# Nobody waits for a mutant for longer; the tests of one take seconds.
LIMIT_S = 90.0
NEEDED_SHARE = 0.95


class Verdict(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"
    # Nothing is known of these: they have to be mended.
    STALE = "stale"
    RED = "red"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutant.

    Args:
        mutant: Which.
        verdict: A mutant that makes its tests hang counts as killed; one whose old
            text is gone is stale; one whose tests fail without it is red; and broken
            is one of which not even the tests begin.
        detail: The test that killed it, or what is wrong with it.
        seconds: How long its tests took.
    """

    mutant: Mutant
    verdict: Verdict
    detail: str = ""
    seconds: float = 0.0

    @property
    def is_killed(self) -> bool:
        """Whether its tests noticed it."""
        return self.verdict in {Verdict.KILLED, Verdict.TIMED_OUT}

    @property
    def is_known(self) -> bool:
        """Whether it could be tested at all."""
        return self.is_killed or self.verdict is Verdict.SURVIVED

    def __str__(self) -> str:
        """Return it in one line."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.verdict:9} {self.seconds:5.1f} s  {self.mutant.name}{detail}"


class Runner:
    """Tests mutants, several at once.

    Args:
        root: The checkout.
        copies: A copy of it for each that is tested at a time.
        limit_s: Seconds after which the tests of a mutant are killed.
    """

    def __init__(
        self, root: Path, copies: Sequence[Copy], limit_s: float = LIMIT_S
    ) -> None:
        self._root = root
        self._size = len(copies)
        self._limit_s = limit_s
        self._free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for copy in copies:
            self._free.put(copy)

    def run(self, mutants: Sequence[Mutant]) -> Iterator[Result]:
        """Yield what becomes of each mutant, as soon as it is known."""
        fresh = []
        for mutant in mutants:
            places = mutant.places(self._root)
            if places == 1:
                fresh.append(mutant)
            else:
                detail = f"its old text stands {places} times in {mutant.path}"
                yield Result(mutant, Verdict.STALE, detail)
        with ThreadPoolExecutor(self._size) as pool:
            # Many have the same tests.
            sets = list(dict.fromkeys(mutant.tests for mutant in fresh))
            sound = dict(zip(sets, pool.map(self._run_sound, sets), strict=True))
            tasks = []
            for mutant in fresh:
                run = sound[mutant.tests]
                if run.has_passed:
                    tasks.append(pool.submit(self._try, mutant))
                else:
                    yield Result(mutant, Verdict.RED, f"without it: {_told(run)}")
            for task in as_completed(tasks):
                yield task.result()

    def _run_sound(self, tests: Sequence[str]) -> Run:
        return self._lent(lambda copy: copy.test(tests, self._limit_s))

    def _try(self, mutant: Mutant) -> Result:
        began_at = time.monotonic()

        def test(copy: Copy) -> Run:
            with copy.mutated(mutant):
                return copy.test(mutant.tests, self._limit_s)

        verdict, detail = judged(self._lent(test))
        return Result(mutant, verdict, detail, time.monotonic() - began_at)

    def _lent(self, work: Callable[[Copy], Run]) -> Run:
        copy = self._free.get()
        try:
            return work(copy)
        finally:
            self._free.put(copy)


def judged(run: Run) -> tuple[Verdict, str]:
    """Return what a run of its tests says of a mutant, and the detail."""
    if run.status is None:
        return Verdict.TIMED_OUT, ""
    if run.has_passed:
        return Verdict.SURVIVED, ""
    return Verdict.KILLED if run.has_failed else Verdict.BROKEN, _told(run)


def _told(run: Run) -> str:
    """Return which test failed, or what else pytest said."""
    if run.failures:
        return run.failures[0]
    lines = run.output.strip().splitlines() or ["pytest said nothing"]
    return f"exit status {run.status}: {lines[-1]}"


def is_good_enough(results: Sequence[Result]) -> bool:
    """Tell whether enough were killed, and whether something is known of all."""
    killed = sum(result.is_killed for result in results)
    is_enough = killed >= NEEDED_SHARE * len(results)
    return is_enough and all(result.is_known for result in results)
