"""Read-only checks of whether an AWS account is ready for a job."""
