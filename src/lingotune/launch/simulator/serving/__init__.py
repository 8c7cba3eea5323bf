"""The rehearsal of an endpoint: a model served here as SageMaker's inference container would."""
