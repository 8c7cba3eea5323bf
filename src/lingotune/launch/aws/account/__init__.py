"""Read-only questions that tell whether an AWS account is ready for a job."""
