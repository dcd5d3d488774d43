"""The tests of flask_forge_jobs."""
