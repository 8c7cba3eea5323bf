"""Hydra plugin: `hydra/launcher=sagemaker` runs the jobs of any Hydra application on Amazon SageMaker."""
