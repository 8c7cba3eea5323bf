"""What SageMaker would refuse."""
