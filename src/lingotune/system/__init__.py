"""This machine: hashes of files, arrays, helper processes, its CPU."""
