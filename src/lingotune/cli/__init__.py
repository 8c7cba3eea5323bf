"""Command-line entries."""
