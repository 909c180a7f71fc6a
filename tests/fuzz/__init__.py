"""Fuzzing: what arbitrary bytes may not do to the readers of the house.

A target is a module ``fuzz_<name>`` with ``check(data)``: it raises when a promise is broken. `engine` drives it with
coverage as its guide, `run` does so for every target, and the tests replay the corpus and draw structured inputs.
"""
