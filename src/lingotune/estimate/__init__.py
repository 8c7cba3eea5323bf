"""Numbers that follow from a job: pure arithmetic."""
