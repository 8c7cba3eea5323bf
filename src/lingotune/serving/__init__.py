"""Trained models at work: as an endpoint of SageMaker, on this machine, exported to ONNX."""
