"""Real servers of other makers as fixtures: each on loopback, on a free port, always stopped."""
