"""Which split each row goes to."""
