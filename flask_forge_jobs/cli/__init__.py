"""The `flask forge-jobs` commands."""
