"""The site file under drawn documents and hostile YAML, and what the search found in its loader."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fuzz.drawing import drawn
from fuzz.fuzz_site_file import check
from fuzz.limits import allocated_bytes, processor_seconds
from fuzz.seeds import SITE
from hilum.errors import Rejected
from hilum.site import load_site

HANG_SECONDS = 30.0
HELD_BYTES = 100 * 1024 * 1024

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.dates()
    | st.just("off")
    | st.just(10**400)
)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, child in inner for found in places(child, (*place, key)))]


def replaced(value: Any, place: tuple[Any, ...], by: Any) -> Any:
    if not place:
        return by
    copy = value.copy()
    copy[place[0]] = replaced(value[place[0]], place[1:], by)
    return copy


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A site file that holds, but for a few places."""
    site = yaml.safe_load(SITE)
    for _ in range(draw(st.integers(1, 3))):
        site = replaced(site, draw(st.sampled_from(places(site))), draw(documents))
    return yaml.safe_dump(site, allow_unicode=draw(st.booleans())).encode("utf-8", "replace")


@drawn
@given(spoiled())
def test_a_spoiled_file_is_refused_with_its_faults_or_holds(source: bytes) -> None:
    check(source)


@drawn
@given(st.binary(max_size=200) | st.text(alphabet="a:- []{}&*!?|>'\"%@`\n\t#,.0x1e", max_size=200).map(str.encode))
def test_so_is_anything_else(source: bytes) -> None:
    check(source)
    check(SITE.encode() + source)


HOSTILE = {
    "billion-laughs": b"a: &a [x, x, x, x, x, x, x, x, x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (n + 1, n + 1, b", ".join([b"*%c" % n] * 10)) for n in range(97, 110)),
    "aliases-within-the-schema": b"site: a\nfeeds:\n - &f {sending_application: a, paths: {x: ["
    + b"y," * 9_000
    + b"]}}\n"
    + b" - *f\n" * 20_000,
    "deep-lists": b"site: " + b"[" * 100_000,
    "deep-mappings": b"site: " + b"{a: " * 50_000,
    "deep-blocks": b"".join(b" " * depth + b"a:\n" for depth in range(600)),
    "questions": b"? " * 50_000,
    "huge-integer": b"site: a\nris: {port: " + b"9" * 200_000 + b"}\n",
    "huge-hexadecimal": b"site: a\nris: {port: 0x" + b"f" * 200_000 + b"}\n",
    "sexagesimal": b"site: a\nris: {port: 1" + b":1" * 40_000 + b"}\n",
    "huge-exponent": b"site: a\nris: {port: 1, retry_seconds: 1.0e+999999999}\n",
    "no-such-date": b"site: 2026-99-99\n",
    "no-such-time": b"site: 2026-01-01 99:99:99\n",
    "offset-of-days": b"site: 2026-01-01 00:00:00 +99:99\n",
    "wrong-tags": b"site: !!bool x\nris: !!timestamp y\n",
    "empty-integer": b"site: !!int ''\n",
    "empty-float": b"site: !!float ''\n",
    "python-tag": b"site: !!python/object/apply:os.system ['true']\n",
    "numbers-as-keys": b"1: 2\nsite: a\n",
    "lists-as-keys": b"? [a]\n: b\nsite: a\n",
    "merge": b"site: a\n<<: {ris: {port: 1}}\n",
    "value-key": b"=: a\n",
    "repeated": b"site: a\nris: {port: 1}\nris: {port: 2}\n",
    "two-documents": b"site: a\n---\nsite: b\n",
    "directive": b"%YAML 9.9\n---\nsite: a\n",
    "utf-16": "site: a\n".encode("utf-16"),
    "byte-order-mark": b"\xef\xbb\xbfsite: a\n",
    "surrogate": b'site: "\\ud800"\n',
    "nul": b"site: a\0\n",
    "many-entries": b"site: a\nalgorithms:\n" + b" - {name: x}\n" * 5_000,
    "too-large": b"site: a\n#" + b"x" * (1 << 20),
}  # fmt: skip


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_costs_little_and_is_judged(source: bytes) -> None:
    with processor_seconds(HANG_SECONDS):
        check(source)


@pytest.mark.parametrize("name", ["billion-laughs", "aliases-within-the-schema", "huge-integer"])
def test_a_small_file_holds_little_memory(name: str) -> None:
    with allocated_bytes(HELD_BYTES):
        check(HOSTILE[name])


REFUSED = (
    "billion-laughs",
    "aliases-within-the-schema",
    "merge",
    "repeated",
    "numbers-as-keys",
    "wrong-tags",
    "no-such-date",
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_yaml_does_behind_the_readers_back_is_refused(name: str, tmp_path: Path) -> None:
    """Found by the target: tags and dates ended in a traceback. By reading: aliases took hours, a second `ris` won."""
    file = tmp_path / "site.yaml"
    file.write_bytes(HOSTILE[name])
    with pytest.raises(Rejected, match=r"site.yaml: not YAML: ") as refused:
        load_site(file)
    assert refused.value.code == "site_file"
