"""The routes without a version prefix, one module per concern."""
