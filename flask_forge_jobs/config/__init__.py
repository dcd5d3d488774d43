"""From the outside world to frozen settings."""
