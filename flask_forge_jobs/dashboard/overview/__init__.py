"""The overview: does work flow, and if not, what helps?

:mod:`.headline` says it in a sentence, :mod:`.grouping` shortens what needs the reader,
:mod:`.tiles` has six numbers, and :mod:`.view` reads and holds the rest.
"""
