"""Workers as a page: their slots and what these run, late and lost ones."""
