"""What a job is, and what can be wrong with it."""
