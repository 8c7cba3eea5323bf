"""From the command line to a typed config, with Hydra."""
