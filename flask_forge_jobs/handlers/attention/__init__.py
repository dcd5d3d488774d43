"""The attention report: rules over facts, and proof if nothing needs attention.

:mod:`.queues`, :mod:`.kinds`, :mod:`.workers`, :mod:`.upkeep` and :mod:`.database` hold
the rules: functions from :class:`.Facts` to sentences. :mod:`.report` orders what they
say, and :mod:`.cache` reads the facts at most once a second.
"""
