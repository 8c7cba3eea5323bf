"""The rehearsal: running a job for SageMaker on this machine as its training container would."""
