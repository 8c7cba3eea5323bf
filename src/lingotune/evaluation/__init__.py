"""Scores of a model, and classification with saved models."""
