"""The stores, the two databases below them, and the SQL."""
