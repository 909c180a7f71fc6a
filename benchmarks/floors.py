"""Floors, told and judged in one way by every benchmark.

A floor that is not met is a line of the output. It fails the program only where ``HILUM_BENCH_STRICT`` is 1: on a
machine that others use, a figure may fall short for their sake.
"""

import os
from dataclasses import dataclass, field


@dataclass
class Floors:
    """What was promised, judged line by line; `settle` at the end."""

    missed: list[str] = field(default_factory=list)

    def at_least(self, name: str, value: float, floor: float, aim: float | None = None) -> None:
        """``value`` shall reach ``floor``, and should reach ``aim``."""
        self._judge(name, value, floor, aim, value >= floor, aim is not None and value >= aim, "at least")

    def below(self, name: str, value: float, floor: float, aim: float | None = None) -> None:
        """``value`` shall stay below ``floor``, and should stay below ``aim``."""
        self._judge(name, value, floor, aim, value < floor, aim is not None and value < aim, "below")

    def settle(self) -> None:
        """End the program in failure, if that was asked for and a floor was missed."""
        if self.missed and os.environ.get("HILUM_BENCH_STRICT") == "1":
            raise SystemExit(f"floor NOT met: {', '.join(self.missed)}")

    def _judge(self, name: str, value: float, floor: float, aim: float | None, met: bool, best: bool, how: str) -> None:
        if not met:
            self.missed.append(name)
        aimed = "" if aim is None else f", aim {aim:g}: {'met' if best else 'not met'}"
        print(f"  {name}: {value:.2f} (floor: {how} {floor:g}{aimed}): floor {'met' if met else 'NOT met'}")
