"""Detections of a data set: from the cache, from processes, after an interruption."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.evaluation.collecting import collect
from benchmarks.evaluation.detections_cache import DetectionsCache, detections_cache, engine
from benchmarks.evaluation.found import ModelToOpen, find_in
from benchmarks.evaluation.workers import find_in_processes
from persondet.errors import InputError
from runtime.backend import open_backend


@pytest.fixture
def pictures(tmp_path):
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for index, path in enumerate(paths):
        cv2.imwrite(str(path), generator.integers(0, 255, (40 + index, 60, 3), np.uint8))
    return paths


@pytest.fixture
def model(tiny_onnx):
    backend = open_backend(tiny_onnx, threads=1)
    return ModelToOpen(tiny_onnx, backend.spec, 1)


@pytest.fixture
def cache(tmp_path):
    return DetectionsCache(tmp_path / "cache")


def run(model, pictures, cache=None, workers=1):
    return collect(model, open_backend(model.path, threads=1), pictures, cache, workers)


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        assert one.size_hw == other.size_hw
        for name in ("boxes_xyxy_px", "scores", "class_ids"):
            np.testing.assert_array_equal(
                getattr(one.detections, name), getattr(other.detections, name)
            )


def test_from_the_cache_is_what_was_found(model, pictures, cache):
    fresh, cached = run(model, pictures, cache)
    assert cached == 0
    assert sum(len(found.detections) for found in fresh) > 0
    again, cached = run(model, pictures, cache)
    assert cached == 5
    assert_same(fresh, again)
    assert_same(fresh, run(model, pictures)[0])


def test_processes_find_the_same(model, pictures, cache):
    alone, _ = run(model, pictures)
    together, _ = run(model, pictures, cache, workers=2)
    assert_same(alone, together)
    assert run(model, pictures, cache)[1] == 5


def test_an_error_in_a_process_is_the_users_to_read(model, pictures, cache):
    pictures[3].write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"cannot read the picture .*3\.png"):
        run(model, pictures, cache, workers=2)
    absent = dataclasses.replace(model, path=Path("none.onnx"))
    with pytest.raises(InputError, match=r"none\.onnx does not exist"):
        find_in_processes(absent, pictures, 2, lambda index, found: None)


def test_an_interrupted_run_goes_on(model, pictures, cache):
    done = []

    def advance():
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt

    backend = open_backend(model.path, threads=1)
    with pytest.raises(KeyboardInterrupt):
        collect(model, backend, pictures, cache, 1, advance)
    assert run(model, pictures, cache)[1] == 3


def test_only_what_the_content_says_is_taken_from_the_cache(model, pictures, cache):
    run(model, pictures, cache)
    moved = pictures[0].with_name("moved.png")
    pictures[0].rename(moved)
    assert run(model, [moved], cache)[1] == 1
    cv2.imwrite(str(moved), np.zeros((40, 60, 3), np.uint8))
    assert run(model, [moved], cache)[1] == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_entry_is_found_again(model, pictures, cache, damage):
    fresh, _ = run(model, pictures, cache)
    entry = cache._place(pictures[1])
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"boxes") + 150] ^= 1  # amid the numbers
    damaged = {"cut": whole[:-40], "flipped": bytes(flipped), "empty": b"", "other": b"PK\x03\x04"}
    entry.write_bytes(damaged[damage])
    again, cached = run(model, pictures, cache)
    assert cached == 4
    assert_same(fresh, again)
    assert entry.read_bytes() == whole


def test_the_key_holds_all_that_the_detections_depend_on(model, tiny_dlc, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other_spec = dataclasses.replace(model.spec, nms_iou=0.3)
    other_file = tmp_path / "other.onnx"
    other_file.write_bytes(model.path.read_bytes() + b"\0")
    folders = {
        detections_cache(model, "a").folder,
        detections_cache(model, "b").folder,
        detections_cache(dataclasses.replace(model, spec=other_spec), "a").folder,
        detections_cache(dataclasses.replace(model, score_threshold=0.02), "a").folder,
        detections_cache(dataclasses.replace(model, path=other_file), "a").folder,
    }
    assert len(folders) == 5
    assert all(folder.parent == tmp_path / "persondet" / "detections" for folder in folders)
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(model.path.read_bytes())
    assert detections_cache(dataclasses.replace(model, path=copy), "a").folder in folders


def test_a_cache_that_cannot_be_written_names_the_option(model, pictures, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    unusable = DetectionsCache(tmp_path / "cache" / "detections")
    with (
        contextlib.closing(open_backend(model.path)) as backend,
        pytest.raises(InputError, match=r"cache of detections: cannot write .*--no-cache"),
    ):
        collect(model, backend, pictures, unusable, 1, lambda: None)


def test_the_engine_is_named_with_its_version(tiny_onnx):
    named = engine("onnx", open_backend(tiny_onnx))
    assert named == engine("onnx", open_backend(tiny_onnx, threads=1))
    assert named.startswith("onnx, onnxruntime ")


def test_find_in_gives_the_size_of_the_picture(model, pictures):
    assert find_in(model.open(), pictures[4]).size_hw == (44, 60)


CODE = """
import sys
from pathlib import Path
from benchmarks.evaluation.found import ModelToOpen
from benchmarks.evaluation.workers import find_in_processes
from runtime.backend import open_backend

def found(index, picture):
    print("found", flush=True)

if __name__ == "__main__":
    path, *pictures = map(Path, sys.argv[1:])
    model = ModelToOpen(path, open_backend(path).spec, 1)
    find_in_processes(model, pictures * 4000, 2, found)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_an_interruption(model, pictures, tmp_path, number):
    script = tmp_path / "main.py"
    script.write_text(CODE)
    arguments = [sys.executable, str(script), str(model.path), *map(str, pictures)]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout.readline() == b"found\n"
    os.killpg(process.pid, number) if number == signal.SIGINT else process.kill()
    _, error = process.communicate(timeout=60)  # ends when the last holder of the pipes does
    assert process.returncode != 0
    assert error.count(b"Traceback") <= 1  # the parent's own, which the command line does not show
    for _ in range(50):
        if not _alive(process.pid):
            break
        time.sleep(0.1)
    assert not _alive(process.pid)


def _alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
