"""Nouns and rules: records, enumerations and pure functions; no input or output."""
