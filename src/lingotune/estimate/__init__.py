"""Numbers that follow from a job: batch, steps, memory, time. Pure."""
