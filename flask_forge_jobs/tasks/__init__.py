"""What an application registers, and what its functions see while they run."""
