"""The overview: does work flow, and if not, what helps?

:mod:`.headline` says it in a sentence, :mod:`.tiles` in six numbers, and :mod:`.view`
reads and holds the rest.
"""
