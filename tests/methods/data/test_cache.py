from __future__ import annotations

import mmap
import multiprocessing
import os
import stat
import time
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pytest

from methods.data.cache import CachedImages, ImageFacts, cached_images, written_atomically
from methods.data.dataset import DataError


def make_images() -> CachedImages:
    inputs = np.random.default_rng(0).integers(0, 256, (30, 3, 6, 5), dtype=np.uint8)
    targets = np.arange(30) % 3
    facts = ImageFacts(("a", "b", "c"), (3, 6, 5), 31, ("lost.png",), None)
    return CachedImages(inputs[:20], targets[:20], inputs[20:], targets[20:], facts)


def never() -> CachedImages:
    raise AssertionError("built although it was cached")


def same(left: CachedImages, right: CachedImages) -> bool:
    fields = ("pool_inputs", "pool_targets", "test_inputs", "test_targets")
    return left.facts == right.facts and all(np.array_equal(getattr(left, n), getattr(right, n)) for n in fields)


def test_images_are_built_once_and_read_back_whole(tmp_path: Path) -> None:
    built = cached_images("abc", cache_dir=tmp_path, build=make_images)
    again = cached_images("abc", cache_dir=tmp_path, build=never)
    assert same(built, make_images())
    assert same(again, make_images())
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def test_the_arrays_are_views_into_one_mapped_file(tmp_path: Path) -> None:
    images = cached_images("abc", cache_dir=tmp_path, build=make_images)
    assert not images.pool_inputs.flags.writeable
    assert not images.pool_inputs.flags.owndata
    (file,) = tmp_path.glob("*.arrow")
    address = images.pool_inputs.__array_interface__["data"][0]
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(file) in line]
    spans = [[int(end, 16) for end in fields[0].split("-")] for fields in mapped]
    assert any(start <= address < end for start, end in spans)


@pytest.mark.parametrize("kept", [0, 10, mmap.PAGESIZE // 2, -1])
def test_a_truncated_cache_file_is_rebuilt(tmp_path: Path, kept: int) -> None:
    cached_images("abc", cache_dir=tmp_path, build=make_images)
    (file,) = tmp_path.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:kept])
    assert same(cached_images("abc", cache_dir=tmp_path, build=make_images), make_images())
    assert same(cached_images("abc", cache_dir=tmp_path, build=never), make_images())


def test_foreign_bytes_in_the_cache_are_replaced(tmp_path: Path) -> None:
    cached_images("abc", cache_dir=tmp_path, build=make_images)
    (file,) = tmp_path.glob("*.arrow")
    file.write_bytes(os.urandom(5000))
    assert same(cached_images("abc", cache_dir=tmp_path, build=make_images), make_images())


def test_an_error_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    def write_half() -> None:
        with written_atomically(tmp_path / "x") as unfinished:
            unfinished.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert os.listdir(tmp_path) == []


def test_a_failed_build_is_not_kept(tmp_path: Path) -> None:
    def fail() -> CachedImages:
        raise DataError("broken")

    with pytest.raises(DataError, match="broken"):
        cached_images("abc", cache_dir=tmp_path, build=fail)
    assert same(cached_images("abc", cache_dir=tmp_path, build=make_images), make_images())


def _build_slowly(cache_dir: Path, builders: Queue[int]) -> None:
    def build() -> CachedImages:
        builders.put(os.getpid())
        time.sleep(0.5)
        return make_images()

    assert same(cached_images("abc", cache_dir=cache_dir, build=build), make_images())


def test_of_several_processes_one_builds_and_all_read(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    builders: Queue[int] = context.Queue()
    processes = [context.Process(target=_build_slowly, args=(tmp_path, builders)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert builders.get(timeout=5) > 0
    assert builders.empty()


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAREDOWN_CACHE", str(tmp_path / "here"))
    cached_images("abc", cache_dir=None, build=make_images)
    assert len(list((tmp_path / "here").glob("*.arrow"))) == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/cache cannot be written.*set PAREDOWN_CACHE"):
        cached_images("abc", cache_dir=tmp_path / "file" / "cache", build=make_images)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(DataError, match="cannot be written"):
        cached_images("abc", cache_dir=tmp_path, build=make_images)
