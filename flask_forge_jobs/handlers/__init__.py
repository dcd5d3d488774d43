"""One synchronous function for each thing an operator can ask; no Flask, no HTTP."""
