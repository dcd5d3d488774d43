"""Everything that a worker does besides running jobs, one duty a module."""
