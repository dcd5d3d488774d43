"""What several tests build on; nothing in here is a test."""
