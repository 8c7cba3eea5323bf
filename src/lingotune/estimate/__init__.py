"""Numbers that follow from a job. Pure."""
