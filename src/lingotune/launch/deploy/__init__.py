"""Deployments: from a trained model to an endpoint, or to the answers for a file."""
