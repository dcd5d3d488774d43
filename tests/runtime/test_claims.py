from __future__ import annotations

from flask_forge_jobs.runtime.claims import ClaimsUnderWay


class Claimer:
    """Has one claim under way at a time."""


def test_a_claim_is_under_way_from_its_begin_to_its_end() -> None:
    claims, claimer = ClaimsUnderWay(), Claimer()
    before = claims.have_ended(claims.newest)
    claims.begin(claimer)
    during = claims.have_ended(claims.newest)
    claims.end(claimer)

    assert (before, during, claims.have_ended(claims.newest)) == (True, False, True)


def test_later_claims_do_not_count() -> None:
    claims, first, second = ClaimsUnderWay(), Claimer(), Claimer()
    claims.begin(first)
    newest = claims.newest
    claims.begin(second)
    claims.end(first)

    assert claims.have_ended(newest)
    assert not claims.have_ended(claims.newest)


def test_the_next_claim_of_a_claimer_ends_the_one_before() -> None:
    claims, claimer = ClaimsUnderWay(), Claimer()
    claims.begin(claimer)
    newest = claims.newest
    claims.begin(claimer)

    assert claims.have_ended(newest)


def test_a_claim_whose_claimer_is_gone_is_over() -> None:
    claims, claimer = ClaimsUnderWay(), Claimer()
    claims.begin(claimer)

    del claimer

    assert claims.have_ended(claims.newest)
