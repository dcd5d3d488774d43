"""PostgreSQL as a Database."""
