"""Data sets that tests make."""
