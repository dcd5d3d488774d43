"""What must survive a crash: the stores, the two databases below them, and the SQL."""
