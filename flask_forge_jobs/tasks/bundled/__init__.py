"""Tasks that come with the package; register them to use them."""
