"""The operations behind views and commands: functions of a storage, without HTTP.

Each may raise :class:`flask_forge_jobs.errors.StorageUnavailableError`.
"""
