"""A small shop that is built by a factory.

``extensions`` holds what the modules share, ``orders`` the views and the tasks, and
``application`` puts them together; no module imports in a circle.
"""
