"""The only definition of the wire shapes, one module a concern."""
