"""Plans: what would run, with numbers and findings."""
