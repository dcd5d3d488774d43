"""Takes a PostgreSQL server away under load and gives it back."""
