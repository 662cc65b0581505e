"""`persondet live`: clips, frames as JSON, and how it is ended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_detector import outputs_with, save_onnx

from persondet.cli import cli, live
from persondet.errors import InputError
from runtime.video import Video, writing_clip

ANCHOR = (1 * 5 + 2) * 2 + 1


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def model(tmp_path):
    return save_onnx(tmp_path / "tiny.onnx", outputs_with({ANCHOR: (0, 0, 9)}))


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    with writing_clip(path, 12.0) as append:
        for value in range(0, 200, 20):
            append(np.full((96, 160, 3), value, np.uint8))
    return path


def run(*arguments):
    result = CliRunner().invoke(cli, ["live", *map(str, arguments)])
    assert result.exception is None, result.output
    return result.stdout, result.stderr


def test_a_clip_with_boxes(model, film, tmp_path):
    out = tmp_path / "out.mp4"
    stdout, _ = run(model, film, "--out", out)
    assert stdout.startswith("10 frames, ")
    assert stdout.endswith(f"on CPU, onnxruntime {stdout.split()[-3]} -> {out}\n")
    video = Video(str(out))
    assert (video.frame_count, video.frames_per_second) == (10, 12.0)
    drawn, plain = next(video.frames_rgb()), next(Video(str(film)).frames_rgb())
    difference = np.abs(drawn.astype(int) - plain).max(axis=2)
    assert difference[31:34, 70:90].max() > 100  # the upper side of the box
    assert difference[80:, 130:].max() < 40


def test_frames_as_json(model, film):
    stdout, stderr = run(model, film, "--json", "--max-frames", 3, "--score-threshold", "0.9")
    records = [json.loads(line) for line in stdout.splitlines()]
    assert [record["frame"] for record in records] == [1, 2, 3]
    assert [record["time_s"] for record in records] == pytest.approx([0, 1 / 12, 2 / 12], abs=1e-5)
    assert (records[0]["width"], records[0]["height"]) == (160, 96)
    assert records[0]["detections"][0]["class_name"] == "head"
    assert stderr.startswith("3 frames, ")


def test_rates_are_told_while_it_runs(model, film, monkeypatch):
    monkeypatch.setattr(live, "SECONDS_BETWEEN_LINES", 0.0)
    _, stderr = run(model, film, "--max-frames", 2)
    assert [line.split(":")[0] for line in stderr.splitlines()] == [
        "frame 1 of 10",
        "frame 2 of 10",
    ]


@pytest.mark.parametrize(
    ("rate", "words"), [(0.04, "0.04"), (0.25, "0.25"), (1.0, "1.0"), (25.04, "25.0")]
)
def test_slow_models_have_a_rate_too(rate, words):
    assert live._progress_line(3, None, rate) == f"frame 3: {words} a second"


def test_the_original_projects_spelling(model, film):
    assert run("--model_path", model, film)[0].startswith("10 frames, ")
    assert live._model_and_source((), "m.onnx") == ("m.onnx", "0")  # camera 0
    for arguments in ([], ["m.onnx"], ["a", "b", "c"], ["--model_path", "a", "b", "c"]):
        result = CliRunner().invoke(cli, ["live", *arguments])
        assert result.exit_code == 2
        assert "expected MODEL SOURCE, got" in result.stderr


def test_what_cannot_be_read_or_written(model, film, tmp_path):
    for arguments, message in (
        ((model, tmp_path / "none.mp4"), "no such file"),
        ((model, model), "found no frame"),
        ((model, film, "--out", tmp_path / "out.txt"), "ends in .mp4, .mov, .avi"),
        ((model, film, "--score-threshold", "2"), "score threshold"),
    ):
        result = CliRunner().invoke(cli, ["live", *map(str, arguments)])
        assert isinstance(result.exception, InputError)
        assert message in str(result.exception)
    assert not (tmp_path / "out.txt").exists()


def test_the_clip_never_replaces_what_it_is_made_from(model, film, tmp_path):
    before = film.read_bytes()
    link = tmp_path / "link.mp4"
    link.symlink_to(film)
    named_as_clip = model.rename(tmp_path / "tiny.avi").with_name("model.onnx")
    named_as_clip.symlink_to(tmp_path / "tiny.avi")
    for source, out in ((film, film), (film, link), (link, film), (film, tmp_path / "tiny.avi")):
        arguments = ["live", str(named_as_clip), str(source), "--out", str(out)]
        result = CliRunner().invoke(cli, arguments)
        assert isinstance(result.exception, InputError)
        assert "would be overwritten by its own result" in str(result.exception)
    assert film.read_bytes() == before
    assert live._inputs(model, "0", None) == [model]
    assert live._inputs(model, film.as_uri(), None) == [model, film]


def slow_process(seconds, *arguments):
    """The command line with a model that takes so long a frame and says so first."""
    code = f"""if True:
        import sys, time
        from persondet.cli import main
        from runtime.detector import Detector
        infer = Detector.infer
        def slow(self, tensor):
            print("a frame", file=sys.stderr)
            time.sleep({seconds})
            return infer(self, tensor)
        Detector.infer = slow
        main()
    """
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_ended_before_the_first_frame(model, film, tmp_path):
    out = tmp_path / "out.mp4"
    process = slow_process(30, "live", str(model), str(film), "--out", str(out))
    assert process.stderr is not None and process.stderr.readline() == "a frame\n"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert stderr.strip().startswith("persondet: interrupted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "tiny.onnx"]


def test_the_clip_is_kept_where_nobody_reads_on(model, film, tmp_path):
    out = tmp_path / "out.mp4"
    process = slow_process(0.2, "live", str(model), str(film), "--json", "--out", str(out))
    assert process.stdout is not None and json.loads(process.stdout.readline())
    process.stdout.close()
    assert process.wait(60) == 128 + signal.SIGPIPE
    assert 1 <= len(list(Video(str(out)).frames_rgb())) < 10


def test_the_clip_is_kept_where_its_lines_cannot_be_written(model, film, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    out = tmp_path / "out.mp4"
    arguments = ["live", str(model), str(film), "--json", "--out", str(out)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "persondet.cli", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert "cannot write the output: No space left" in done.stderr
    assert len(list(Video(str(out)).frames_rgb())) == 1


@pytest.mark.parametrize("reason", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ending_it_keeps_the_clip_whole(model, film, tmp_path, reason):
    """Interrupted once frames have come; the film is made long by a slow model."""
    out = tmp_path / "out.mp4"
    process = slow_process(0.3, "live", str(model), str(film), "--json", "--out", str(out))
    assert process.stdout is not None
    for _ in range(2):
        assert json.loads(process.stdout.readline())
    time.sleep(0.05)
    process.send_signal(reason)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    frames = int(stderr.splitlines()[-1].split()[0])
    assert 2 <= frames < 10
    assert frames - 1 <= len(list(Video(str(out)).frames_rgb())) <= frames
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "out.mp4", "tiny.onnx"]


def test_a_camera_clip_keeps_its_pace(model, film, tmp_path, monkeypatch):
    """Frames that come too slowly for the clip's rate are written more than once."""
    seconds = iter(np.arange(1000) / 3.0)
    monkeypatch.setattr(live, "perf_counter", lambda: float(next(seconds)))
    monkeypatch.setattr(Video, "is_live", True, raising=False)
    monkeypatch.setattr(Video, "__setattr__", _but_is_live)
    out = tmp_path / "out.mp4"
    run(model, film, "--out", out, "--max-frames", 3)
    video = Video(str(out))
    assert len(list(video.frames_rgb())) > 12


def _but_is_live(self, name, value):
    if name != "is_live":
        object.__setattr__(self, name, value)


def test_in_a_window(model, film, monkeypatch):
    """q after the second frame."""
    shown = []

    def show(frame_rgb):
        shown.append(frame_rgb.shape)
        return len(shown) < 2

    closed = []
    monkeypatch.setattr("runtime.window.can_open_window", lambda: True)
    monkeypatch.setattr("runtime.window.show", show)
    monkeypatch.setattr("runtime.window.close_window", lambda: closed.append(True))
    assert run(model, film)[0].startswith("2 frames, ")
    assert shown == [(96, 160, 3)] * 2
    assert closed == [True]
    shown.clear()
    assert run(model, film, "--no-window")[0].startswith("10 frames, ")
    assert shown == []
