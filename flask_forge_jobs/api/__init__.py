"""The HTTP API: the ``forge_jobs`` blueprint, its schemas and its errors."""
