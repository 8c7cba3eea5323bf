"""Sweeps: many jobs over few slots, from what was typed to the last job's end."""
