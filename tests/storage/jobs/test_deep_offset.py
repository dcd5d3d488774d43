from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.storage.jobs.streams import NEAR, seek


class Instants:
    """Jobs as bare instants; tells how many were counted."""

    def __init__(self, instants: list[int]) -> None:
        self.instants = sorted(instants, reverse=True)
        self.counted = 0

    def count(self, after: int, to: int) -> int:
        found = sum(after < at <= to for at in self.instants)
        self.counted += found
        return found

    def seek(self, offset: int) -> tuple[int, int]:
        return seek(
            self.count,
            newest=self.instants[0],
            oldest=self.instants[-1],
            total=len(self.instants),
            offset=offset,
        )


@given(
    instants=st.lists(st.integers(0, 50), min_size=1, max_size=4000),
    share=st.floats(0, 1),
)
def test_the_place_is_never_passed(instants: list[int], share: float) -> None:
    jobs = Instants(instants * (1 + 3 * NEAR // len(instants)))
    offset = int(share * len(jobs.instants))

    instant, newer = jobs.seek(offset)

    assert newer == sum(at > instant for at in jobs.instants)
    assert newer <= offset
    if offset - newer > NEAR:
        # They are of one instant, which cannot be divided.
        assert sum(at == instant for at in jobs.instants) > NEAR


def test_jobs_that_are_spread_evenly_are_counted_about_once() -> None:
    jobs = Instants([7 * n for n in range(60_000)])

    _, newer = jobs.seek(50_000)

    assert 0 <= 50_000 - newer <= NEAR
    assert jobs.counted <= 50_000


def test_jobs_in_a_few_bursts_are_found_as_well() -> None:
    jobs = Instants([n + 10**12 * (n // 10_000) for n in range(60_000)])

    for offset in (9_999, 10_001, 35_000, 59_999):
        _, newer = jobs.seek(offset)
        assert 0 <= offset - newer <= NEAR
