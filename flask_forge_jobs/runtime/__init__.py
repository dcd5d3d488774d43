"""The threads of a worker process.

:mod:`.worker` puts them together. In ``loop`` jobs are claimed and their outcomes
stored, in ``run`` they run, and ``duties`` has the periodic work.
"""
