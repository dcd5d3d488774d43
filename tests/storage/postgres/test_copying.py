"""Rows for ``COPY``: a few at a time, and every character as it is."""

from __future__ import annotations

import contextlib

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.postgres.copying import CopySource
from tests.support.sql import Sql

MEGABYTE = 1024 * 1024


def test_large_rows_are_read_a_few_at_a_time() -> None:
    source = CopySource((str(number), "x" * 300_000) for number in range(40))

    pieces = list(iter(source.read, b""))

    assert max(map(len, pieces)) < 1.5 * MEGABYTE
    assert b"".join(pieces).count(b"\n") == 40


def test_small_rows_are_read_many_at_a_time() -> None:
    source = CopySource((str(number), "x") for number in range(2000))

    assert len(list(iter(source.read, b""))) < 7


def test_every_character_arrives(postgres_settings: DatabaseSettings) -> None:
    texts = ["\\", "\t", "\n", "\r", "\\N", "\\t", "a\\\tb\nc\rd", '"☃"', "", None]

    with contextlib.closing(Sql(postgres_settings).connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TEMP TABLE copied (n INTEGER, text TEXT)")
        cursor.copy_expert("COPY copied FROM STDIN", CopySource(enumerate(texts)))
        cursor.execute("SELECT text FROM copied ORDER BY n")

        assert [text for (text,) in cursor.fetchall()] == texts
