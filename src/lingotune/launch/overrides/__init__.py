"""Overrides as typed: read, and refused in words that name one that works."""
