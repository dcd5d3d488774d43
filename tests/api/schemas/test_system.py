from __future__ import annotations

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.system import StorageInfo
from flask_forge_jobs.storage.base import StorageInfo as Info


def test_storage_info_is_an_array_of_pairs() -> None:
    info = Info("sqlite", (("sqlite_version", "3.46.0"), ("journal_mode", "wal")))

    assert encode(dumper(StorageInfo())(info)).decode() == (
        '{"backend":"sqlite","fields":[["sqlite_version","3.46.0"],'
        '["journal_mode","wal"]]}'
    )
