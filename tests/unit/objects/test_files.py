"""How files become durable: the order of system calls, and what a crash may leave."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hilum.objects.files import FileObjects


def test_data_is_synced_before_the_name_and_the_folder_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    objects = FileObjects(tmp_path / "objects")
    real_fdatasync, real_fsync, real_rename = os.fdatasync, os.fsync, os.rename

    def fdatasync(descriptor: int) -> None:
        steps.append("data")
        real_fdatasync(descriptor)

    def fsync(descriptor: int) -> None:
        steps.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real_fsync(descriptor)

    def rename(name: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        steps.append("rename")
        real_rename(name, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    objects.put("instances/1.2/a.dcm", b"data")
    assert steps == ["instances", "objects", "data", "rename", "1.2"]
    steps.clear()
    objects.put("instances/1.2/b.dcm", b"data")
    assert steps == ["data", "rename", "1.2"]


def test_a_folder_that_another_writer_has_just_made_is_synced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = FileObjects(tmp_path / "objects")
    (tmp_path / "objects" / "instances" / "1.2").mkdir(parents=True)
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    objects.put("instances/1.2/a.dcm", b"data")
    assert synced == ["instances", "objects", "1.2"]


@pytest.mark.parametrize("made", [False, True])
def test_the_folder_of_all_objects_is_durable_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    """Also one that another writer has just made."""
    root = tmp_path / "state" / "objects"
    if made:
        root.mkdir(parents=True)
    synced: list[tuple[str, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, root.is_dir()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    FileObjects(root)
    assert synced == [("state", True)]


def test_what_a_crash_left_half_written_is_not_listed(tmp_path: Path) -> None:
    objects = FileObjects(tmp_path)
    objects.put("a/b", b"whole")
    (tmp_path / "a" / "c.1-1.partial").write_bytes(b"half")
    assert [found.key for found in objects.list("")] == ["a/b"]
    assert not objects.exists("a/c")


def test_an_object_deleted_while_it_is_listed_is_left_out(tmp_path: Path) -> None:
    objects = FileObjects(tmp_path)
    for name in ("a", "b", "c"):
        objects.put(f"x/{name}", b"1")
    listing = objects.list("x/")
    first = next(listing)
    for name in ("a", "b", "c"):
        if first.key != f"x/{name}":
            objects.delete(f"x/{name}")
    assert list(listing) == []


def test_remembered_folders_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.objects.files._REMEMBERED_FOLDERS", 10)
    objects = FileObjects(tmp_path)
    for number in range(40):
        objects.put(f"instances/{number}/a", b"1")
    assert len(objects._durable_folders) <= 10


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    objects = FileObjects(tmp_path)
    objects.put("x/a", b"1")
    objects.delete("x/a")
    (tmp_path / "x").rmdir()
    objects.put("x/a", b"2")
    assert objects.get("x/a") == b"2"


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    objects = FileObjects(tmp_path / "objects")
    for name in ("a", "b", "c"):
        objects.put(f"instances/1.2/{name}.dcm", b"data")
        assert objects.get(f"instances/1.2/{name}.dcm") == b"data"
        shutil.rmtree(tmp_path / "objects" / "instances")


def test_one_folder_a_thread_is_kept_open(tmp_path: Path) -> None:
    objects = FileObjects(tmp_path / "objects")

    def open_folders() -> set[str]:
        links = (link for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
        return {str(target) for link in links if str(target := link.readlink()).startswith(str(tmp_path))}

    def store() -> None:
        for number in range(5):
            objects.put(f"instances/1.{number}/a.dcm", b"data")
        assert open_folders() == {str(tmp_path / "objects/instances/1.4")}

    with ThreadPoolExecutor(1) as pool:
        pool.submit(store).result()
    assert not open_folders()
