"""Run folders: what is in one, and what it ran with."""
