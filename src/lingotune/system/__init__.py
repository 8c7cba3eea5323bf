"""This machine: hashes, processes, arrays."""
