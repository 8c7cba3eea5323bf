"""Checks of what SageMaker would refuse."""
