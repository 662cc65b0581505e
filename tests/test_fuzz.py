"""Every reader of files takes damaged ones: it refuses them in words, or reads what is left.

Some hundred per kind, by a fixed seed, in a child process with a memory limit: see fuzzing.py.
By hand, thousands: `python tests/test_fuzz.py COUNT [SEED [KIND ...]]`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from data_files import voc_xml, write_picture
from described import describe
from fuzzing import KINDS
from tiny_network import TINY_SPEC

from persondet.sidecar import sidecar_path
from persondet.spec import spec_to_json

# kind: how many files; those that take long have few
COUNTS = {"dlc": 6, "onnx": 120}
DEFAULT_COUNT = 200


def write_sound_files(folder: Path, onnx_path: Path, dlc_path: Path) -> None:
    """One sound file of each kind, and the image that the annotations are of."""
    shutil.copy(onnx_path, folder / "model.onnx")
    shutil.copy(dlc_path, folder / "model.dlc")
    describe(folder / "model.onnx", step="export", inputs=[], spec=TINY_SPEC)
    (folder / "spec.json").write_text(spec_to_json(TINY_SPEC))
    write_picture(folder / "a.jpg", (48, 80))
    (folder / "list.txt").write_text("# of this morning\na.jpg\na.jpg\n")
    (folder / "voc.xml").write_text(voc_xml([("person", (3, 4, 20, 30), 0)], "a.jpg"))
    (folder / "wider.txt").write_text("a.jpg\n2\n" + "1 2 20 20 0 0 0 0 0 0\n" * 2)
    (folder / "a.idl").write_text('"a.jpg": (1, 2, 20, 30), (5, 6, 30, 20);\n"a.jpg";\n')
    record = {"step": 1, "epoch": 0, "learning_rate": 0.01, "classification_loss": 1.5}
    (folder / "log.jsonl").write_text(f"{json.dumps(record)}\n{json.dumps(record)}\n")
    np.savez(folder / "arrays.npz", scores=np.zeros((2, 3)), boxes=np.ones((1, 4), np.float32))
    (folder / "train.toml").write_text(
        "epochs = 3\nsteps = [0.5, 0.75]\nlearning_rate = 0.1\n[loss]\nclassification = 'focal'\n"
        "[[data]]\nformat = 'voc'\nannotations = '.'\nimages = '.'\nclasses = ['person=person']\n"
    )
    for name, content in (
        ("coco.json", _coco()),
        ("a.odgt", _crowdhuman()),
        ("encodings.json", _encodings()),
        ("aimet.json", _aimet_encodings()),
        ("baseline.json", _baseline()),
    ):
        (folder / name).write_text(json.dumps(content))


def _coco() -> dict:
    box = {"image_id": 7, "category_id": 1, "bbox": [1, 2.5, 20, 30], "area": 600, "iscrowd": 0}
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 48, "width": 80}],
        "annotations": [{"id": 1, **box}, {"id": 2, **box, "category_id": 2, "ignore": 1}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "head"}],
    }


def _crowdhuman() -> dict:
    box = {"tag": "person", "hbox": [1, 2, 10, 12], "fbox": [1, 2, 20, 40], "vbox": [1, 2, 20, 30]}
    return {"ID": "a", "gtboxes": [{**box, "head_attr": {"ignore": 0}, "extra": {"ignore": 0}}]}


def _encodings() -> dict:
    one = {"bitwidth": 8, "min": -1.0, "max": 1.55, "scale": 0.01, "offset": -100, "dtype": "int"}
    return {
        "version": "0.6.1",
        "activation_encodings": {"image": [one]},
        "param_encodings": {"weight": [{**one, "is_symmetric": "False"}] * 3},
    }


def _aimet_encodings() -> dict:
    one = {"bw": 8, "dtype": "INT", "enc_type": "PER_TENSOR", "is_sym": False}
    values = {"scale": [0.01], "offset": [-100]}
    return {
        "version": "1.0.0",
        "activation_encodings": [{"name": "image", **one, **values}],
        "param_encodings": [
            {**one, "name": "weight", "enc_type": "PER_CHANNEL", "scale": [0.1], "offset": [-128]}
        ],
    }


def _baseline() -> dict:
    setting = {"runtime": "DSP", "perf_profile": "burst", "totals_us": [100.0, 110.0, 105.0]}
    return {
        "format": "persondet-device-benchmark-1",
        **{"model": "a.dlc", "model_sha256": "0" * 64, "device": "a board", "toolchain": "2.30"},
        "settings": [{**setting, "starts": [0, 0, 1], "frames_a_run": 50}],
    }


def fuzz(kind: str, folder: Path, count: int, seed: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(Path(__file__).with_name("fuzzing.py")), kind, str(folder)]
    return subprocess.run(
        [*argv, str(count), str(seed)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def sound_files(tiny_onnx, tiny_dlc, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_sound_files(folder, tiny_onnx, tiny_dlc)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_in_words(kind, sound_files) -> None:
    finished = fuzz(kind, sound_files, COUNTS.get(kind, DEFAULT_COUNT))
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-2000:]


def _by_hand(count: int, seed: int, kinds: list[str]) -> None:
    from tiny_network import tiny_checkpoint

    from export.convert import convert
    from export.onnx_export import export_onnx

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    made = export_onnx(tiny_checkpoint(folder / "tiny.pth"), folder / "tiny.onnx").path
    write_sound_files(folder, made, convert(made).path)
    sidecar_path(made).unlink()
    for kind in kinds or KINDS:
        finished = fuzz(kind, folder, count, seed)
        print(finished.stdout[-6000:], finished.stderr[-3000:], finished.returncode, flush=True)


if __name__ == "__main__":
    _by_hand(int(sys.argv[1]), int((*sys.argv, "0")[2]), sys.argv[3:])
