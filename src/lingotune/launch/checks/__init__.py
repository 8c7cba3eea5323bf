"""Checks for everything that SageMaker would refuse."""
