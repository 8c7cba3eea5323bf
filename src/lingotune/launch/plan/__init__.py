"""Plans: what would run, with its numbers and findings."""
