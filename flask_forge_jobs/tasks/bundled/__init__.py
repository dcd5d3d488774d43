"""Tasks that come with the package; none is registered unless it is asked for."""
