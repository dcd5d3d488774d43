"""Tasks: their registration, and their view of the job that they run."""
