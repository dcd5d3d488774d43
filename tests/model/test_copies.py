"""Tests of the copies of new jobs."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace

from flask_forge_jobs.model.copies import copy_fields
from flask_forge_jobs.model.jobs import NewJob


def test_a_copy_has_every_field() -> None:
    """A field of its own value each, so that none is mistaken for another"""
    values = {each.name: object() for each in fields(NewJob)}
    draft = SimpleNamespace()

    copy_fields(SimpleNamespace(**values), draft)

    assert vars(draft) == values
