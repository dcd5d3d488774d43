"""``flask forge-jobs loadgen``: measure the queue on the database in use."""
