"""Run folders: their files, results and environment."""
