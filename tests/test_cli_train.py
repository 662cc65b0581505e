"""`persondet train` from annotations to a checkpoint that goes on, in one process and in two."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from persondet.checkpoint import load_checkpoint
from persondet.cli.train import command
from persondet.errors import InputError
from persondet.images import write_image_rgb
from persondet.networks import build_network, initialise
from persondet.spec import spec_from_json, spec_to_json
from persondet.training.curves import read_log
from persondet.training.initial import _torchvision_names
from persondet.zoo import F38, detector_spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures as COCO JSON, and the spec of a quarter-width f38."""
    folder = tmp_path_factory.mktemp("train")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(8):
        picture = rng.integers(0, 90, (120, 200, 3)).astype(np.uint8)
        x, y = int(rng.integers(0, 130)), int(rng.integers(0, 60))
        picture[y : y + 50, x : x + 40] = 240
        write_image_rgb(folder / f"{index}.png", picture)
        images.append({"id": index, "file_name": f"{index}.png", "height": 120, "width": 200})
        box = {"id": index + 1, "image_id": index, "category_id": 1, "bbox": [x, y, 40, 50]}
        annotations.append({**box, "area": 2000, "iscrowd": 0})
    record = {"images": images, "annotations": annotations}
    record["categories"] = [{"id": 1, "name": "head"}]
    (folder / "data.json").write_text(json.dumps(record))
    (folder / "spec.json").write_text(spec_to_json(detector_spec(F38, width_mult=0.25)))
    return folder


def arguments(folder: Path, out: Path, *more: str) -> list[str]:
    data = f"coco:{folder / 'data.json'}:{folder}"
    options = ["--model", str(folder / "spec.json"), "--val", data, "--out", str(out)]
    small = ["--epochs", "2", "--batch-size", "4", "--workers", "0", "--device", "cpu"]
    return [data, *options, *small, *more]


def test_a_run_writes_all_that_it_promises_and_resumes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    (tmp_path / "recipe.toml").write_text("min_side_px = 80")
    config = ["--config", str(tmp_path / "recipe.toml")]
    result = CliRunner().invoke(command, arguments(folder, out, *config), catch_exceptions=False)
    assert result.exit_code == 0
    assert "epoch 1/2: class loss" in result.stdout and "best.pth: AP50" in result.stdout
    assert "starting from random weights" in result.stderr
    assert "box smaller than 80 px at network scale: ignored" in result.stderr
    recipe = [line for line in result.stderr.splitlines() if line.startswith("recipe: ")]
    keys = "epochs 2, batch_size 4, min_side_px 80.0, workers 0"
    assert recipe == [f"recipe: {keys}; all of it in {out / 'config.json'}"]
    names = {path.name for path in out.iterdir()}
    assert {"best.pth", "last.pth", "state.pt", "log.jsonl", "config.json", "curves.png"} <= names
    best = load_checkpoint(out / "best.pth")
    threshold = best.spec.score_threshold
    assert best.spec == replace(detector_spec(F38, width_mult=0.25), score_threshold=threshold)
    assert best.training["config"]["epochs"] == 2 and best.training["images"] == 8
    assert list((out / "tensorboard").glob("events.*"))
    assert [record["epoch"] for record in read_log(out / "log.jsonl")] == [1, 2]

    resumed = arguments(folder, out, *config, "--resume")
    again = CliRunner().invoke(command, resumed, catch_exceptions=False)
    assert again.exit_code == 0  # nothing is left to do
    assert len((out / "log.jsonl").read_text().splitlines()) == 2


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_run_does_not_mix_with_the_one_in_its_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = arguments(folder, out, "--epochs", "1")
    CliRunner().invoke(command, first, catch_exceptions=False)
    before = contents(out)
    for more, message in (
        ([], "holds a run already .*--resume goes on with it, --overwrite sets its files aside"),
        (["--resume", "--batch-size", "2"], "made with another configuration"),
        (["--resume", "--classes", "person"], "has none of the classes person"),
    ):
        result = CliRunner().invoke(command, [*first, *more])
        assert isinstance(result.exception, InputError), result.output
        assert re.search(message, str(result.exception))
        assert contents(out) == before  # a refused run writes nothing
    result = CliRunner().invoke(command, [*first, "--resume", "--overwrite"])
    assert result.exit_code == 2 and "one of them" in result.output

    for number in (1, 2):
        result = CliRunner().invoke(command, [*first, "--overwrite"], catch_exceptions=False)
        assert f"the earlier run's files are in {out / f'previous-{number}'}" in result.stderr
    aside = {name for name in contents(out) if name.startswith("previous-1")}
    assert aside == {str(Path("previous-1") / name) for name in before}
    assert contents(out / "previous-1") == before
    assert len(read_log(out / "log.jsonl")) == 1


def test_out_is_a_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    for out in (tmp_path / "run", tmp_path / "run" / "deeper"):
        result = CliRunner().invoke(command, arguments(folder, out))
        assert isinstance(result.exception, InputError), result.output
        assert str(out) in str(result.exception)


def test_a_person_sees_loss_rate_time_left_and_validation(folder: Path, tmp_path: Path) -> None:
    """On a terminal, which takes both streams; then Ctrl-C is acknowledged at once."""
    terminal, side = pty.openpty()
    train = arguments(folder, tmp_path / "run", "--epochs", "500")
    run = subprocess.Popen(
        [sys.executable, "-m", "persondet.cli", "train", *train],
        stdout=side,
        stderr=side,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(side)
    shown = b""
    asked = False
    with contextlib.suppress(OSError):  # the terminal's end
        while chunk := os.read(terminal, 10_000):
            shown += chunk
            if not asked and b"epoch 3/500:" in shown:
                run.send_signal(signal.SIGINT)
                asked = True
    os.close(terminal)
    assert run.wait(60) == 130
    text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown).decode()
    assert re.search(r"epoch 1/500 +\S+ +\d/1000 loss \d+\.\d+, \d+\.\d images/s", text)
    assert re.search(r"validating +\S+ +\d/8", text) and " left " in text
    for number in (1, 2):  # each from the beginning of a line and alone on it, above the bars
        assert re.search(rf"[\r\n]epoch {number}/500: class loss.*recall [\d.]+\r*\n", text)
    assert "persondet: stopping after this step" in text and "--resume goes on there" in text


def test_a_run_starts_from_another_checkpoint(folder: Path, tmp_path: Path) -> None:
    first = arguments(folder, tmp_path / "a", "--epochs", "1")
    CliRunner().invoke(command, first, catch_exceptions=False)
    start = ["--init", str(tmp_path / "a" / "last.pth"), "--epochs", "1", "--freeze-backbone"]
    result = CliRunner().invoke(
        command, arguments(folder, tmp_path / "b", *start), catch_exceptions=False
    )
    assert f"starting from {tmp_path / 'a' / 'last.pth'}" in result.stderr


def test_a_teacher_needs_no_annotations(folder: Path, tmp_path: Path) -> None:
    first = arguments(folder, tmp_path / "a", "--epochs", "1")
    assert CliRunner().invoke(command, first, catch_exceptions=False).exit_code == 0
    record = json.loads((folder / "data.json").read_text())
    record["categories"].append({"id": 2, "name": "bicycle"})
    for image in record["images"][4:]:
        image["labeled_category_ids"] = [2]
    (tmp_path / "half.json").write_text(json.dumps(record))
    data = [f"coco:{tmp_path / 'half.json'}:{folder}", *arguments(folder, tmp_path / "b")[1:]]
    taught = [*data, "--teacher", str(tmp_path / "a" / "last.pth"), "--epochs", "1"]
    result = CliRunner().invoke(command, taught, catch_exceptions=False)
    assert result.exit_code == 0
    assert "last.pth teaches 3860 of 3860 anchors" in result.stderr
    assert ", teacher's loss " in result.stdout
    training = load_checkpoint(tmp_path / "b" / "last.pth").training
    assert training["teacher"].endswith("last.pth") and training["images"] == 8
    alone = CliRunner().invoke(command, [*data, "--epochs", "1", "--resume"])
    assert isinstance(alone.exception, InputError)
    assert "made with another number of pictures, or teacher" in str(alone.exception)


def test_a_run_starts_from_torchvisions_backbone(folder: Path, tmp_path: Path) -> None:
    """Under the names that torchvision gives a MobileNetV2, at this network's width."""
    spec = spec_from_json((folder / "spec.json").read_text())
    network = build_network(spec)
    initialise(network, 7)
    own = network.state_dict()
    theirs = {their: own[our] for our, their in _torchvision_names(network)}
    torch.save(theirs, tmp_path / "mobilenet_v2.pth")
    more = ["--init", str(tmp_path / "mobilenet_v2.pth"), "--epochs", "1"]
    result = CliRunner().invoke(
        command, arguments(folder, tmp_path / "run", *more), catch_exceptions=False
    )
    assert "backbone from mobilenet_v2.pth" in result.stderr


def test_a_signal_ends_the_step_and_the_rest_is_learnt_alike(folder: Path, tmp_path: Path) -> None:
    """Through the workers' processes too, and in the middle of an epoch."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    longer = ["--epochs", "3", "--batch-size", "1", "--workers", "1"]
    CliRunner().invoke(command, arguments(folder, whole, *longer), catch_exceptions=False)
    train = [sys.executable, "-m", "persondet.cli", "train", *arguments(folder, parts, *longer)]
    with subprocess.Popen(train, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stderr is not None
        run.stdout.readline()  # the first epoch has ended
        run.send_signal(signal.SIGTERM)
        errors = run.stderr.read()
        assert run.wait(60) == 128 + signal.SIGTERM, errors
    assert "--resume goes on there" in errors and "Traceback" not in errors
    resumed = arguments(folder, parts, *longer, "--resume")
    CliRunner().invoke(command, resumed, catch_exceptions=False)
    one, other = (load_checkpoint(out / "last.pth").network.state_dict() for out in (whole, parts))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_a_damaged_state_and_another_network_are_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = arguments(folder, out, "--epochs", "1")
    CliRunner().invoke(command, first, catch_exceptions=False)
    other = folder / "other.json"
    other.write_text(spec_to_json(detector_spec(F38, width_mult=0.25, anchor_ratios=[1.0])))
    result = CliRunner().invoke(command, [*first, "--resume", "--model", str(other)])
    assert "made with another network or other anchors" in str(result.exception)
    state = out / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    result = CliRunner().invoke(command, [*first, "--resume"])
    assert "cannot resume from" in str(result.exception) and "damaged" in str(result.exception)


def test_without_a_model_the_network_is_that_of_the_checkpoint(folder: Path, tmp_path: Path):
    first = arguments(folder, tmp_path / "a", "--epochs", "1")
    CliRunner().invoke(command, first, catch_exceptions=False)
    data, best = f"coco:{folder / 'data.json'}:{folder}", tmp_path / "a" / "best.pth"
    options = ["--epochs", "1", "--batch-size", "4", "--workers", "0", "--device", "cpu"]
    again = [data, "--init", str(best), "--out", str(tmp_path / "b"), *options]
    CliRunner().invoke(command, again, catch_exceptions=False)
    spec = load_checkpoint(tmp_path / "b" / "last.pth").spec
    assert spec == load_checkpoint(best).spec
    result = CliRunner().invoke(command, [data, "--out", str(tmp_path / "c")])
    assert result.exit_code == 2 and "expected --model NETWORK, or --init" in result.output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--init", "nothing.npz"], "no such file to start from: nothing.npz"),
        (["--config", "nothing.toml"], "cannot read the configuration nothing.toml"),
        (["--classes", "bicycle"], "bicycle"),
        (["--resume"], "nothing to resume"),
        (["--teacher", "nothing.pth"], "there is no file nothing.pth"),
    ],
)
def test_what_cannot_be_is_said(folder: Path, tmp_path: Path, more: list[str], message: str):
    result = CliRunner().invoke(command, arguments(folder, tmp_path / "run", *more))
    assert isinstance(result.exception, InputError), result.output
    assert message in str(result.exception)


def test_a_configuration_that_is_wrong_is_named(folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('steps = ["x"]')
    message = rf"^{recipe}: invalid training configuration: an item of steps is \"x\""
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(
            command, arguments(folder, tmp_path / "run", "--config", recipe), catch_exceptions=False
        )


def test_two_processes_share_the_work(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    train = ["-m", "persondet.cli", "train", *arguments(folder, out)]
    done = subprocess.run(
        [sys.executable, *launch, *train], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    log = read_log(out / "log.jsonl")
    assert [record["epoch"] for record in log] == [1, 2]
    assert log[-1]["step"] == 4  # 8 pictures, 2 a process and step, 2 epochs
    load_checkpoint(out / "last.pth")


def test_validation_data_in_the_short_form_must_be_whole(folder: Path, tmp_path: Path) -> None:
    record = json.loads((folder / "data.json").read_text())
    record["images"].append({"id": 99, "file_name": "missing.png"})
    (tmp_path / "val.json").write_text(json.dumps(record))
    options = ["--model", str(folder / "spec.json"), "--out", str(tmp_path / "run")]
    options += ["--val", str(tmp_path / "val.json"), "--images-root", str(folder)]
    result = CliRunner().invoke(command, [str(folder / "data.json"), *options, "--device", "cpu"])
    assert isinstance(result.exception, InputError), result.output
    assert "1 of the 9 pictures of" in str(result.exception)
    assert "data.json: 8 pictures, 0 without boxes; boxes: 8 head" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_flipped_byte_in_a_runs_files_is_noticed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = arguments(folder, out, "--epochs", "1")
    CliRunner().invoke(command, first, catch_exceptions=False)
    for name in ("best.pth", "last.pth", "state.pt"):
        content = bytearray((out / name).read_bytes())
        content[len(content) // 2] ^= 4
        (out / name).write_bytes(content)
    for name in ("best.pth", "last.pth"):
        with pytest.raises(InputError, match=name):
            load_checkpoint(out / name)
    result = CliRunner().invoke(command, [*first, "--resume", "--epochs", "1"])
    assert isinstance(result.exception, InputError)
    assert "cannot resume from" in str(result.exception)
