"""Forms: every change of the API for browsers without script, and what they answer."""
