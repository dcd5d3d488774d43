"""Small mistakes made on purpose in a copy of the package; tests should notice them."""
