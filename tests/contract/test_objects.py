"""`hilum.objects.port.Objects`: what every object store keeps to."""

import threading
from pathlib import Path

import pytest

from hilum.errors import Fault, Unavailable
from hilum.objects.port import Objects
from scenes.adapters import FullDisk, OpenObjects

KEY = "instances/1.2.840.113619.2/1.2.3.4.dcm"


def test_what_is_got_is_what_was_put(objects: Objects) -> None:
    data = bytes(range(256)) * 5_000
    objects.put(KEY, data)
    assert objects.get(KEY) == data


def test_an_empty_object_is_an_object(objects: Objects) -> None:
    objects.put(KEY, b"")
    assert objects.exists(KEY)
    assert objects.get(KEY) == b""


def test_a_put_replaces_the_whole(objects: Objects) -> None:
    objects.put(KEY, b"long before")
    objects.put(KEY, b"short")
    assert objects.get(KEY) == b"short"


def test_another_handle_sees_it(open_objects: OpenObjects, objects: Objects) -> None:
    objects.put(KEY, b"data")
    assert open_objects().get(KEY) == b"data"


@pytest.mark.parametrize("key", [KEY, "instances", "instances/1.2.840.113619.2", f"{KEY}/below"])
def test_a_missing_object_is_a_fault(objects: Objects, key: str) -> None:
    if key != KEY:
        objects.put(KEY, b"data")
    with pytest.raises(Fault) as missing:
        objects.get(key)
    assert missing.value.code == "object_missing"
    assert not objects.exists(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "a//b",
        "a/",
        "..",
        ".",
        "../outside",
        "a/../../outside",
        "a/./b",
        "a\\b",
        "a b",
        "a\nb",
        "a\n",
        "a\0b",
        "ä",
        "~",
        "a:b",
        "x" * 256,
        "a.partial",
    ],
)
def test_a_hostile_key_is_refused(objects: Objects, key: str) -> None:
    for call in (lambda: objects.put(key, b"x"), lambda: objects.get(key), lambda: objects.delete(key)):
        with pytest.raises(Fault) as refused:
            call()
        assert refused.value.code == "object_key"
    assert list(objects.list("")) == []


def test_a_deleted_object_is_gone_and_may_be_deleted_again(objects: Objects) -> None:
    objects.put(KEY, b"data")
    objects.delete(KEY)
    objects.delete(KEY)
    objects.delete("instances")
    assert not objects.exists(KEY)


def test_a_list_holds_what_starts_with_the_prefix(objects: Objects) -> None:
    for key in ("instances/1.2/a.dcm", "instances/1.2/b.dcm", "instances/1.25/c.dcm", "maps/x.npy"):
        objects.put(key, key.encode())

    def keys(prefix: str) -> list[str]:
        return sorted(found.key for found in objects.list(prefix))

    assert keys("instances/1.2/") == ["instances/1.2/a.dcm", "instances/1.2/b.dcm"]
    assert keys("instances/1.2") == ["instances/1.2/a.dcm", "instances/1.2/b.dcm", "instances/1.25/c.dcm"]
    assert keys("maps/x") == ["maps/x.npy"]
    assert keys("nothing/here/") == []
    assert len(keys("")) == 4
    assert {found.size_bytes for found in objects.list("maps/")} == {len("maps/x.npy")}


def test_many_writers_of_one_key_leave_one_whole_object(objects: Objects) -> None:
    wanted = [bytes([number]) * 50_000 for number in range(8)]
    writers = [threading.Thread(target=objects.put, args=(KEY, data)) for data in wanted]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert objects.get(KEY) in wanted
    assert [found.key for found in objects.list("")] == [KEY]


def test_a_store_that_cannot_write_says_so_and_keeps_what_it_had(objects: Objects, full_disk: FullDisk) -> None:
    objects.put(KEY, b"before")
    with full_disk(), pytest.raises(Unavailable):
        objects.put(KEY, b"after that is longer")
    assert objects.get(KEY) == b"before"
    assert [found.key for found in objects.list("")] == [KEY]
    objects.put(KEY, b"after")
    assert objects.get(KEY) == b"after"


def test_a_key_below_an_object_is_unavailable(objects: Objects) -> None:
    """Files cannot hold both `a` and `a/b`; no key scheme of ours asks for it."""
    objects.put("a", b"1")
    with pytest.raises(Unavailable):
        objects.put("a/b", b"2")
    assert objects.get("a") == b"1"


def test_a_store_whose_place_is_taken_says_unavailable(tmp_path: Path) -> None:
    from hilum.objects.files import FileObjects

    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        FileObjects(tmp_path / "file" / "objects")
