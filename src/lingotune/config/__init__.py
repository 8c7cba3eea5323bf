"""The schema of a job, and the problems that a job can have."""
