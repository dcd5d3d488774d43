"""What the end, the removal or the return of a job means for others."""
