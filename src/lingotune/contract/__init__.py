"""Agreements between the launcher and the workers: names, log lines, limits."""
