"""What is wrong with the arguments is said before PyTorch is loaded, which takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from persondet.images import write_image_rgb

# In one child: torch cannot be imported, so a check that comes too late says that it is missing.
RUN = """
import contextlib, io, json, sys
sys.modules["torch"] = None
from persondet.cli import main
for words in json.load(sys.stdin):
    errors, code = io.StringIO(), 0
    sys.argv = ["persondet", *words]
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    sys.__stdout__.write(json.dumps([code, errors.getvalue()]) + "\\n")
"""
TRAIN = "train data.json --model f38 --out run"
CASES = {
    "export none.pth": "no file none.pth",
    "export head -o x.dlc": "must end in .onnx",
    "export head --model f83": "did you mean f38",
    "export head --opset 3": "not in the range 9<=x<=20",
    "export head --picture none.png": "none.png",
    "export head --anchor-ratios 0": "positive numbers",
    "export head --spec none.json": "none.json",
    "convert none.pth": "no file none.pth",
    "convert head -o x.onnx": "must end in .dlc",
    "convert head --soc sm1": "unknown SoC 'sm1'",
    "convert head --context-binary": "needs --soc",
    "convert head --spec none.json": "none.json",
    "quantize none.pth --calib images": "no file none.pth",
    "quantize head --calib none": "none",
    "quantize head --calib images -o x.onnx": "must end in .dlc",
    "quantize head --encodings none.json": "none.json",
    "quantize head": "--calib",
    "quantize head --calib images --soc sm1": "unknown SoC 'sm1'",
    "quantize head --calib images --data none.json": "none.json",
    "quantize head --calib images --data data.json --images-root none": "0.png",
    "quantize head --calib images --max-drop 1": "--max-drop needs --data",
    "quantize head --calib images --data data.json --max-drop nan": "'nan' is not a number",
    "detect none.pth images": "no file none.pth",
    "detect head none": "none",
    "detect head images --out data.json": "data.json is not a folder",
    "detect head images --score-threshold 2": "score threshold: expected a number from 0 to 1",
    "detect head images --nms-iou 2": "NMS IoU: expected a number from 0 to 1",
    "detect head images --top-k -1": "top-k: expected at least 1",
    "detect head images --spec none.json": "none.json",
    "detect head images --coco x.txt": "must end in .json",
    "detect head images --classes cat": "knows no class cat",
    "live none.pth none.mp4": "none.mp4",
    "live head none.mp4": "none.mp4",
    "compare none.pth head --images images": "no file none.pth",
    "compare head person --images none": "none",
    "compare head person --images images --fail-above x=y": "x",
    "compare head --images images": "two models or more",
    "compare head person --images images --score-threshold 3": "score threshold",
    "evaluate none.pth --data data.json": "no file none.pth",
    "evaluate head --data none.json": "none.json",
    "evaluate head --data data.json --classes cat": "cat",
    "evaluate head --data data.json --plots data.json": "data.json is not a folder",
    "evaluate head person --data data.json": "cannot be evaluated side by side",
    "evaluate head none.pth --data data.json": "no file none.pth",
    "evaluate head --data data.json --fail-below AP5=1": "no figure 'AP5'",
    "evaluate head --data data.json --max-drop 1": "two models or more",
    "evaluate head --data data.json --proxy": "--proxy is for quantized DLC files",
    "evaluate head --data data.json --confirm 3": "--confirm needs --proxy",
    "evaluate head head --data data.json --plots out": "for one model",
    "benchmark none.pth --image images/0.png": "no file none.pth",
    "benchmark head --image none.png": "none.png",
    "label none.pth images -o x.json": "no file none.pth",
    "label head none -o x.json": "none",
    "label head images -o x.txt": "must end in .json",
    "label head images -o x.json --certain 3": "expected 0 < doubtful <= certain <= 1",
    "label head images -o x.json --classes cat": "knows no class cat",
    "info none.pth": "no file none.pth",
    "info head --csv x.txt": "must end in .csv",
    "info head --model f83": "did you mean f38",
    "train none.json --model f38 --out run": "none.json",
    "train data.json --model f83 --out run": "did you mean f38",
    "train data.json --out run --init none.npz": "none.npz",
    f"{TRAIN} --config none.toml": "none.toml",
    f"{TRAIN} --init none.pth": "no file none.pth",
    f"{TRAIN} --teacher none.pth": "no file none.pth",
    f"{TRAIN} --val none.json": "none.json",
    f"{TRAIN} --classes cat": "cat",
    f"{TRAIN} --resume": "nothing to resume",
    "train data.json --model f38 --out data.json": "data.json is a file",
    "anchors none.json --model f38": "none.json",
    "anchors data.json --model f83": "did you mean f38",
    "init f83 -o x.pth": "did you mean f38",
    "init f38 -o x.dlc": "must end in .pth",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit code and standard error of each case, in a folder with one annotated image."""
    folder = tmp_path_factory.mktemp("arguments")
    (folder / "images").mkdir()
    write_image_rgb(folder / "images" / "0.png", np.full((60, 90, 3), 128, np.uint8))
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 30, 20], "area": 600}
    record = {
        "images": [{"id": 1, "file_name": "images/0.png", "height": 60, "width": 90}],
        "annotations": [{**box, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "head"}],
    }
    (folder / "data.json").write_text(json.dumps(record))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps([words.split() for words in CASES]),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(CASES, ((code, text) for code, text in lines), strict=True))


@pytest.mark.parametrize("words", CASES)
def test_arguments_are_checked_before_torch_is_loaded(
    said: dict[str, tuple[int, str]], words: str
) -> None:
    code, errors = said[words]
    assert code == 2, errors
    assert "'torch'" not in errors
    assert CASES[words] in errors


def test_the_shipped_weights_need_torch() -> None:
    """Else the test above could not fail."""
    code = "import sys; sys.modules['torch'] = None\nimport persondet.checkpoint"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert b"ModuleNotFoundError" in done.stderr
