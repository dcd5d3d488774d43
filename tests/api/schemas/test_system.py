from __future__ import annotations

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.system import StorageInfoSchema
from flask_forge_jobs.storage.base import StorageInfo


def test_storage_info_is_an_array_of_pairs() -> None:
    info = StorageInfo(
        "sqlite", (("sqlite_version", "3.46.0"), ("journal_mode", "wal"))
    )

    assert encode(dumper(StorageInfoSchema())(info)).decode() == (
        '{"backend":"sqlite","fields":[["sqlite_version","3.46.0"],'
        '["journal_mode","wal"]]}'
    )
