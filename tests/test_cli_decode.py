"""`persondet decode`: boxes of the raw files of a run that was made elsewhere."""

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from imitation_sdk.fixtures import sdk_fixture  # noqa: F401
from imitation_sdk.layout import HOST
from tiny_detector import SPEC, outputs_with, save_onnx

from export.sdk.raw_files import input_list, write_inputs, write_raw
from persondet.cli import cli
from persondet.images import read_image_rgb
from persondet.spec import spec_to_json
from runtime.dlc_backend import spec_of_dlc
from runtime.raw_results import raw_outputs

ANCHOR = (1 * 5 + 2) * 2 + 1  # 24 x 16 around (40, 24) in an input of 80 x 48
HEAD, PERSON = {ANCHOR: (0, 0, 9)}, {ANCHOR: (0, 9, 0)}
SIZES_HW = {"b.png": (100, 200), "a.png": (48, 80), "c.png": (30, 20)}


def write_run(folder: Path, *results) -> Path:
    """The folder of a run: Result_N has the logits results[N], boxes at the anchors."""
    for number, chosen in enumerate(results):
        result = folder / f"Result_{number}"
        result.mkdir(parents=True)
        for tensor in raw_outputs(SPEC):
            write_raw(result / f"{tensor.name}.raw", outputs_with(chosen)[tensor.name], tensor)
    return folder


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.json"
    path.write_text(spec_to_json(SPEC))
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, size_hw in SIZES_HW.items():
        cv2.imwrite(str(folder / name), np.full((*size_hw, 3), 90, np.uint8))
    return folder


def decode(*arguments, error: str | None = None) -> tuple[list[str], str]:
    """Run the command; (lines of standard output, standard error)."""
    result = CliRunner().invoke(cli, ["decode", *map(str, arguments)])
    if error is None:
        assert result.exception is None, result.output
        return result.stdout.splitlines(), result.stderr
    assert result.exit_code or result.exception
    assert error in str(result.exception) + result.stderr
    return result.stdout.splitlines(), result.stderr


def records(lines: list[str]) -> list[dict]:
    return [json.loads(line) for line in lines]


def test_what_detect_prints_of_the_same_outputs(tmp_path, images, spec) -> None:
    """Whoever ran the graph, the boxes are the same, to the digit."""
    chosen = {ANCHOR: (0, 0, 9), 0: (0, 1, -9)}
    model = save_onnx(tmp_path / "tiny.onnx", outputs_with(chosen))
    run = write_run(tmp_path / "output", *[chosen] * 3)
    results = tmp_path / "detect.json", tmp_path / "decode.json"
    words = ["detect", str(model), str(images), "--json", "--coco", str(results[0])]
    expected = CliRunner().invoke(cli, words).stdout.splitlines()
    assert len(expected) == 3
    for described_by in (spec, model):
        words = (run, "--spec", described_by, "--images", images, "--json", "--coco", results[1])
        assert decode(*words)[0] == expected
    assert results[0].read_text() == results[1].read_text()


def test_a_run_of_net_run_itself(tmp_path, images, tiny_dlc, imitation_sdk) -> None:
    """What the imitation's tool leaves of files and a list of ours, against `detect`."""
    root = imitation_sdk("2.48.0.260113")
    spec = spec_of_dlc(tiny_dlc)
    paths = sorted(images.iterdir())
    raw = write_inputs(
        map(read_image_rgb, paths), spec, tmp_path, names=[path.name for path in paths]
    )
    (tmp_path / "list.txt").write_text(input_list(raw, output_tensors=["scores", "boxes"]))
    tool = root / "bin" / HOST / "snpe-net-run"
    argv = [tool, "--container", tiny_dlc, "--input_list", "list.txt"]
    env = {**os.environ, "LD_LIBRARY_PATH": str(root / "lib" / HOST)}
    subprocess.run(argv, cwd=tmp_path, env=env, check=True, capture_output=True)
    loose = ["--json", "--score-threshold", "0", "--top-k", "9"]  # its weights are random
    expected = CliRunner().invoke(cli, ["detect", str(tiny_dlc), str(images), *loose]).stdout
    words = (tmp_path / "output", "--spec", tiny_dlc, "--images", images)
    listed = ("--input-list", tmp_path / "list.txt")
    for found in (decode(*words, *loose)[0], decode(*words, *listed, *loose)[0]):
        for ours, theirs in zip(records(found), records(expected.splitlines()), strict=True):
            assert ours["path"] == theirs["path"]
            assert len(ours["detections"]) == 9
            for one, other in zip(ours["detections"], theirs["detections"], strict=True):
                np.testing.assert_allclose(one["box_xyxy"], other["box_xyxy"], atol=1e-3)


def test_boxes_are_in_pixels_of_their_image(tmp_path, images, spec) -> None:
    run = write_run(tmp_path / "output", HEAD, PERSON, HEAD)
    found = records(decode(run, "--spec", spec, "--images", images, "--json")[0])
    assert [Path(record["path"]).name for record in found] == ["a.png", "b.png", "c.png"]
    assert [record["detections"][0]["class_name"] for record in found] == ["head", "person", "head"]
    box = found[1]["detections"][0]["box_xyxy"]  # of 200 x 100
    np.testing.assert_allclose(box, [70, 100 / 3, 130, 200 / 3], rtol=1e-6)


def test_an_image_list_gives_the_order(tmp_path, images, spec) -> None:
    run = write_run(tmp_path / "output", HEAD, PERSON)
    listed = images / "list.txt"
    listed.write_text(f"c.png\n\n{images / 'b.png'}\n")  # relative to the list; absolute
    found = records(decode(run, "--spec", spec, "--images", listed, "--json")[0])
    assert [(record["width"], record["height"]) for record in found] == [(20, 30), (200, 100)]
    listed.write_text("a.raw\nb.raw\n")
    words = (run, "--spec", spec, "--images", listed)
    decode(*words, error="names raw files, not images: give it by --input-list")


def test_the_input_list_finds_images_by_name(tmp_path, images, spec) -> None:
    run = write_run(tmp_path / "output", HEAD, PERSON)
    listed = tmp_path / "input_list.txt"
    listed.write_text("%scores boxes\nimage:=/raw/00007_c.raw\n/raw/b.png.raw\n")
    words = (run, "--spec", spec, "--images", images, "--json", "--input-list", listed)
    found = records(decode(*words)[0])
    assert [Path(record["path"]).name for record in found] == ["c.png", "b.png"]
    assert found[0]["detections"][0]["class_name"] == "head"
    listed.write_text("a.raw\nz.raw\n")
    decode(*words, error="the input list names z.raw, and of --images none bears that name")
    listed.write_text("a.raw\n")
    decode(*words, error="names 1 input, and there are 2 results: it is the list of another run")
    listed.write_text("a.raw\nb.raw\nc.raw\n")
    lines, stderr = decode(*words)
    assert len(lines) == 2 and "Result_2 and the following are missing" in stderr


def test_without_images_boxes_are_in_pixels_of_the_input(tmp_path, spec) -> None:
    run = write_run(tmp_path / "output", HEAD)
    lines, stderr = decode(run, "--spec", spec, "--json")
    (record,) = records(lines)
    assert record["path"] == str(run / "Result_0")
    assert (record["width"], record["height"]) == (80, 48)
    np.testing.assert_allclose(record["detections"][0]["box_xyxy"], [28, 16, 52, 32], rtol=1e-6)
    assert "in pixels of the network's input, 80 x 48" in stderr
    listed = tmp_path / "input_list.txt"
    listed.write_text("raw/photo.raw\n")
    (line,) = decode(run, "--spec", spec, "--input-list", listed)[0]
    assert line == "raw/photo.raw: 1 head, best 1.00"


def test_drawings_and_thresholds(tmp_path, images, spec) -> None:
    run = write_run(tmp_path / "output", {ANCHOR: (0, 0, 9), 0: (0, 1, -9)})
    words = (
        run / "Result_0",
        "--spec",
        spec,
        "--images",
        images / "b.png",
        "--out",
        tmp_path / "o",
    )
    lines, _ = decode(*words, "--score-threshold", "0.9")
    assert lines == [f"{images / 'b.png'}: 1 head, best 1.00 -> {tmp_path / 'o' / 'b.png'}"]
    assert (read_image_rgb(tmp_path / "o" / "b.png") != 90).any()
    assert "1 person" in decode(*words, "--classes", "person")[0][0]
    decode(*words, "--top-k", "0", error="top-k: expected at least 1")


def test_as_many_images_as_results(tmp_path, images, spec) -> None:
    run = write_run(tmp_path / "output", HEAD, HEAD)
    words = (run, "--spec", spec, "--images", images)
    decode(*words, error="--images names 3 images, and there are 2 results")
    for option in ("--out", "--coco"):
        decode(run, "--spec", spec, option, tmp_path / "x.json", error=f"{option} ")


def test_a_run_that_wrote_the_last_output_alone(tmp_path, spec) -> None:
    run = write_run(tmp_path / "output", HEAD)
    (run / "Result_0" / "scores.raw").unlink()
    decode(run, "--spec", spec, error="--set_output_tensors scores,boxes")


def test_wrong_folders_and_specs(tmp_path, spec) -> None:
    run = write_run(tmp_path / "output", HEAD)
    decode(tmp_path / "none", "--spec", spec, error="none is not a folder of results")
    decode(tmp_path, "--spec", spec, error=f"of snpe-net-run: is it {run}?")
    decode(run, "--spec", "f38", error="of another model")  # other anchors, other sizes
    decode(run, "--spec", tmp_path / "none.json", error="cannot read")
    decode(run, "--spec", "nothing", error="there is no file nothing")
    decode(run, error="Missing option '--spec'")


def test_an_unreadable_image_does_not_stop_the_others(tmp_path, images, spec) -> None:
    run = write_run(tmp_path / "output", HEAD, HEAD, HEAD)
    (images / "b.png").write_bytes(b"no image")
    words = (run, "--spec", spec, "--images", images)
    lines, stderr = decode(*words, error="1 of 3 pictures could not be read")
    assert len(lines) == 2 and "b.png" in stderr
