"""What would run."""
