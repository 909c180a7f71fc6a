"""A seeded world: the services' own code on simulated time, network, disks, log, databases and peers.

`run` lives one seed through and judges it. The same seed gives the same history, to the byte: `History.digest`.
"""
