"""Ledger: does it add up? The read model of every case, its deliveries and their proof."""
