"""The wire schemas, one module per concern; wire shapes are defined only here."""
