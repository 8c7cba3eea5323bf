"""Scores of a model, and saved models."""
