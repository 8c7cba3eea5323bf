"""Assigning every row to a split."""
