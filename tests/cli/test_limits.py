"""``flask forge-jobs limits``; its entries are tested in ``test_local_api``."""

from __future__ import annotations

from tests.cli.console import Console


def test_a_limit_is_set_listed_drained_and_deleted(console: Console) -> None:
    made = console.text("limits", "set", "mail", "--capacity", "5", "--refill", "0.001")
    head, full = console.text("limits", "list").splitlines()
    drained = console.text("limits", "drain", "mail")
    _, empty = console.text("limits", "list").splitlines()
    deleted = console.text("limits", "delete", "mail", "--yes")

    assert made == "limit mail: 5 tokens, 0.001 a second\n"
    assert head.split() == ["SCOPE", "TOKENS", "CAPACITY", "A", "SECOND", "REFILLED"]
    assert full.split()[:4] == ["mail", "5.0", "5", "0.001"]
    assert empty.split()[:2] == ["mail", "0.0"]
    assert (drained, deleted) == ("limit mail drained\n", "limit mail deleted\n")
    assert console.text("limits", "list") == "there is no rate limit\n"


def test_bad_input_names_the_field(console: Console) -> None:
    bad = ("limits", "set", "mail", "--capacity", "0", "--refill", "1")

    assert "capacity" in console.refusal(*bad)
    assert "mail" in console.refusal("limits", "delete", "mail", "--yes")
    assert "mail" in console.refusal("limits", "drain", "mail")
