"""Time and chance come through ports: only hosting, adapters, the CLI and the simulator may ask the system for them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hilum

PACKAGE = Path(hilum.__file__).parent
OUTER = {"hosting", "http", "adapters", "simulator", "cli"}  # folders or modules; all else takes Clock and Ids
FORBIDDEN = {
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    *("datetime.date.today", "asyncio.sleep", "uuid.uuid1", "uuid.uuid4", "os.urandom", "random", "secrets"),
}


def forbidden_uses(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each use of the system's clock, its chance, or its sleep."""
    tree = ast.parse(source)
    names: dict[str, str] = {}  # what a local name stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {(alias.asname or alias.name).split(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            dotted = _dotted(node, names)
            if dotted in FORBIDDEN or dotted.split(".")[0] in FORBIDDEN:
                yield node.lineno, dotted


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        start = _dotted(node.value, names)
        return f"{start}.{node.attr}" if start else ""
    return ""


def inner_modules() -> list[Path]:
    modules = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if not path.stem.endswith(("_pb2", "_grpc")))
    return sorted(path for path in modules if not OUTER & {*path.parts[:-1], path.stem})


@pytest.mark.parametrize("module", inner_modules(), ids=str)
def test_inner_code_takes_time_and_chance_from_its_ports(module: Path) -> None:
    assert list(forbidden_uses((PACKAGE / module).read_text())) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.time()", "time.time"),
        ("from time import monotonic as now\nnow()", "time.monotonic"),
        ("from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
        ("import datetime as dt\ndt.date.today()", "datetime.date.today"),
        ("import asyncio\nasync def f():\n    await asyncio.sleep(0)", "asyncio.sleep"),
        ("from uuid import uuid4\nf = uuid4", "uuid.uuid4"),
        ("import random\nrandom.random()", "random.random"),
    ],
)
def test_each_way_around_the_ports_is_found(source: str, found: str) -> None:
    assert found in {name for _, name in forbidden_uses(source)}


def test_what_is_no_clock_is_left_alone() -> None:
    source = (
        "from datetime import datetime\nimport uuid\ndatetime.fromisoformat('2026-01-01')\nuuid.uuid5(a, b)\nrandom = 1"
    )
    assert list(forbidden_uses(source)) == []
