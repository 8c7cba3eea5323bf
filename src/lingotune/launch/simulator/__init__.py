"""The rehearsal: a job for SageMaker run on this machine, as its training container would run it."""
