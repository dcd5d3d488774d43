"""The run of one job, in its slot or in a process of its own."""
