from __future__ import annotations

from flask_forge_jobs.handlers.system import storage_info
from flask_forge_jobs.storage.base import Storage


def test_storage_info_names_the_backend_and_no_secret(storage: Storage) -> None:
    info = storage_info(storage)

    assert info.backend == storage.backend
    assert info.fields
    assert not any("password" in name or "path" in name for name, _ in info.fields)
