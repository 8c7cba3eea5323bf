"""A SageMaker on this machine: the service's answers, and what stands behind them, by the rehearsal."""
