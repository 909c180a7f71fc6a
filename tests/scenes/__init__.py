"""Cases, results and images that tests of delivery start from."""
