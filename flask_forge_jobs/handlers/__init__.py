"""The operations behind views and commands: functions of a storage, without HTTP.

Each raises InvalidInputError for an argument out of bounds, and StorageUnavailableError
when the database is unavailable. A function with the id or name of something raises the
NotFoundError of its kind when that does not exist. Docstrings name other errors only.
"""
