"""The routes without a version prefix, one module a concern."""
