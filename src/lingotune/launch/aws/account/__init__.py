"""Whether an AWS account is ready for a job: read-only questions."""
