"""``flask forge-jobs doctor``: the faults of a deployment, each with its remedy."""
