"""SQLite as a Database."""
