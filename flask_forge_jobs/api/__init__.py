"""The HTTP edge: the ``forge_jobs`` blueprint, its shapes, and its errors."""
