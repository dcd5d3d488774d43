"""A long run under load and kills, to see what leaks, drifts, or gets lost.

Run it with ``python -m tests.acceptance.soak --minutes 90``. The backends run side by
side. Each has two workers that live through all of it and are measured, two that take
turns at being killed once a minute, and a server that answers the panel, a scraper and
clients. A printed table says what each minute, each process and each promise came to;
the exit status is 1 when one is broken.
"""
