"""Fine-tune multilingual text classifiers: one config, from a laptop CPU to SageMaker GPUs."""

__version__ = "0.1.0"
