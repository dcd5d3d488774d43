"""Failures by signature as a page: the groups of a range, and one group."""
