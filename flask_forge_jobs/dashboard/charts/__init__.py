"""Charts drawn on the server: pure functions from numbers to SVG geometry.

:mod:`.ranges` reads a range of time from an address; :mod:`.ticks` and :mod:`.instants`
choose and write the labels, :mod:`.paths` and :mod:`.small` make geometry, and
:mod:`.figure` puts it together for the macros in ``_charts.html``.
"""
