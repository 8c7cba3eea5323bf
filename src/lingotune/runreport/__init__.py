"""One page for each run: what was planned and what came of it, the course, the scores, the errors."""
