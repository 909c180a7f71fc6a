"""Imaging at its edges: DIMSE, data sets, the index of what is held, the log."""
