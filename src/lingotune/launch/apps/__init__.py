"""Jobs of other Hydra applications: `hydra/launcher=sagemaker`."""
