"""Results of a sweep or of a folder of runs: who wins, by how much, and what it cost."""
