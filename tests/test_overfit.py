"""Training learns: twenty real pictures are learnt by heart."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from persondet.cli.train import command
from persondet.training.curves import read_log

IMAGENET = "weights/mobilenet_v2_1.0_224_imagenet_bnfolded_int8.npz"
CONFIG = """
epochs = 30
batch_size = 10
learning_rate = 0.02
warmup_epochs = 3
validate_every = 30
workers = 1
ema_decay = 0.9
[augment]
photometric = 0
expand = 0
crop = 0
zoom = 0
mirror = 0.5
"""


def twenty_pictures(annotations: Path) -> dict:
    """The first pictures with at most ten heads, all of 14 px and more at network scale."""
    record = json.loads(annotations.read_text())
    boxes: dict[int, list[dict]] = {image["id"]: [] for image in record["images"]}
    for item in record["annotations"]:
        boxes[item["image_id"]].append(item)
    chosen = [
        image
        for image in record["images"]
        if 1 <= len(boxes[image["id"]]) <= 10
        and all(min(item["size300"]) >= 14 for item in boxes[image["id"]])
    ][:20]
    items = [item for image in chosen for item in boxes[image["id"]]]
    return {**record, "images": chosen, "annotations": items}


@pytest.mark.slow
def test_twenty_pictures_are_learnt_by_heart(shared_data: Path, tmp_path: Path) -> None:
    annotations = tmp_path / "twenty.json"
    pictures = twenty_pictures(shared_data / "scut_head_b" / "train.json")
    annotations.write_text(json.dumps(pictures))
    (tmp_path / "train.toml").write_text(CONFIG)
    source, out = f"coco:{annotations}:{shared_data}", tmp_path / "run"
    arguments = [source, "--val", source, "--model", "f38", "--out", str(out), "--device", "cpu"]
    arguments += ["--init", str(shared_data / IMAGENET), "--config", str(tmp_path / "train.toml")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert read_log(out / "log.jsonl")[-1]["ap50"] >= 0.95
