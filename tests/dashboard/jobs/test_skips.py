"""The address that names skipped jobs: bounded, and checked when it is read."""

from __future__ import annotations

from urllib.parse import parse_qsl

from flask_forge_jobs.dashboard.jobs.skips import MAX_IDS, skips_in, skips_path


def test_an_address_names_the_first_jobs_and_counts_the_rest() -> None:
    skipped = [{"id": f"J{n}", "reason": "wrong_status"} for n in range(60)]
    skipped[0] = {"id": "K", "reason": "not_found"}

    path = skips_path(skipped, 700)
    groups, more = skips_in(dict(parse_qsl((path or "").partition("?")[2])))

    assert [len(ids) for _, ids in groups] == [1, MAX_IDS - 1]
    assert groups[0] == ("no longer there", ["K"])
    assert more == 650
    assert len(path or "") < 2000
    assert skips_path([], 0) is None


def test_what_is_no_id_is_left_out() -> None:
    groups, more = skips_in({"not_found": "<b>.A..\x00", "more": "-1", "else": "B"})

    assert (groups, more) == ([("no longer there", ["A"])], 0)
