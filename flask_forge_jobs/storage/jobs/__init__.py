"""The jobs: adding, claiming, ending, reading and changing them."""
