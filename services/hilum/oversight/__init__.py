"""Oversight: can we trust it, here, today? The registry of model packages and the signed policies."""
