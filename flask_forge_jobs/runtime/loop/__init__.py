"""The one thread that owns a worker's claims, outcomes and schedule."""
