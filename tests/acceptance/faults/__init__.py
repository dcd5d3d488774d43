"""The fault table: each row injects one fault and tells what held."""
