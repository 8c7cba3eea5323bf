"""A SageMaker on this machine: the service's answers, and jobs that run as in a rehearsal."""
