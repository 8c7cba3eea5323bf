"""The classifier, and its cheaper layers."""
