"""How many inputs a structured test draws. No deadline: what one input may cost is bounded where it matters."""

from hypothesis import settings

drawn = settings(max_examples=80, deadline=None)
