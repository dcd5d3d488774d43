"""An application that has used its storage before the server forks.

``gunicorn --preload`` imports this module once, in its master. The worst that an
application can do there is done: connections are open and have been used.
"""

from __future__ import annotations

from application import create_app  # type: ignore[import-not-found]  # by its path
