"""One job as a page: timeline of its attempts, tracebacks, payload, log lines."""
