"""Engines: what runs a network. No adapter needs another's library."""
