"""Everything that runs on a worker: ranks, model, trainer, the run itself."""
