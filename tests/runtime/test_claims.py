from __future__ import annotations

from flask_forge_jobs.runtime.claims import ClaimsUnderWay


def test_a_claim_is_under_way_from_its_begin_to_its_end() -> None:
    claims = ClaimsUnderWay()
    before = claims.have_ended(claims.newest)
    claims.begin()
    during = claims.have_ended(claims.newest)
    claims.end()

    assert (before, during, claims.have_ended(claims.newest)) == (True, False, True)


def test_later_claims_do_not_count() -> None:
    claims = ClaimsUnderWay()
    claims.begin()
    newest = claims.newest
    claims.end()
    claims.begin()

    assert claims.have_ended(newest)
    assert not claims.have_ended(claims.newest)
