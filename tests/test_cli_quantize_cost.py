"""`quantize --data`, `evaluate` of several models and `--proxy`: to the emulated chip."""

import json
import shutil

import pytest
from blots import write_blots
from click.testing import CliRunner

from persondet.cli import cli
from persondet.errors import InputError, PersondetError
from persondet.images import read_image_rgb
from runtime.backend import open_backend
from runtime.detector import Detector


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cost-cache"))


@pytest.fixture(scope="module")
def data(tiny_onnx, tmp_path_factory):
    """Six images of 90 x 60, annotated by the float model: its AP50 is near 1."""
    folder = tmp_path_factory.mktemp("data")
    images, annotations = [], []
    detector = Detector(open_backend(tiny_onnx), 0.4)
    for number, path in enumerate(write_blots(folder, 6)):
        images.append({"id": number, "file_name": path.name, "width": 90, "height": 60})
        found = detector(read_image_rgb(path))
        for box, class_id in zip(found.boxes_xyxy_px[:5], found.class_ids[:5], strict=True):
            x1, y1, x2, y2 = map(float, box)
            entry = {"id": len(annotations), "image_id": number, "category_id": int(class_id)}
            entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
            annotations.append({**entry, "area": (x2 - x1) * (y2 - y1)})
    detector.backend.close()
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "head"}]
    path = folder / "test.json"
    record = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(record))
    return path


@pytest.fixture(scope="module")
def quantized(tiny_onnx, data, tmp_path_factory):
    """The folder of m.onnx, m.quantized.dlc and what belongs to it, and what the command said."""
    folder = tmp_path_factory.mktemp("quantized")
    for suffix in ("", ".json"):
        shutil.copy(f"{tiny_onnx}{suffix}", folder / f"m.onnx{suffix}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        options = ("--calib", data, "--data", data, "--confirm", 2, "--max-drop", 100)
        return folder, run("quantize", folder / "m.onnx", *options)


def run(*arguments, error=None, kind=InputError):
    """Run the command; its result."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if error is None:
        assert result.exception is None, result.output
    else:
        assert type(result.exception) is kind, result.output
        assert error in str(result.exception)
    return result


def test_quantize_says_what_it_cost(quantized):
    folder, result = quantized
    assert "test.json: 6 images" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()]
    (of_float,) = [row for row in rows if row[:1] == [str(folder / "m.onnx")]]
    assert len(of_float) == 3  # name, AP50, MR-2; nothing against itself
    (of_qdq,) = [row for row in rows if row[:1] == [str(folder / "m.quantized.onnx")]]
    assert float(of_float[1]) > 0.8
    assert 100 * (float(of_qdq[1]) - float(of_float[1])) == pytest.approx(float(of_qdq[3]), abs=0.2)
    assert "bootstrap over the images (1000 resamples, the same for both models)" in result.stdout
    assert "checked on 2 images" in result.stdout
    assert "m.quantized.dlc on the HTP, m.quantized.onnx in onnxruntime" in result.stdout
    assert "scores, SQNR against float: HTP" in result.stdout


def test_a_drop_over_the_limit_keeps_the_files(tiny_onnx, data, tmp_path):
    """Less than nothing may be lost: any model loses more than that."""
    model = tmp_path / "n.onnx"
    shutil.copy(tiny_onnx, model)
    options = ("--calib", data, "--data", data, "--confirm", 0, "--max-drop", -200)
    result = run("quantize", model, *options, error="the files are written", kind=PersondetError)
    assert "more than the -200 of --max-drop" in str(result.exception)
    assert result.exception.exit_code == 1
    assert "checked on" not in result.stdout
    assert (tmp_path / "n.quantized.dlc.json").exists()


def test_a_checkpoint_quantized_in_passing(rfb_checkpoint, data, tmp_path):
    """The float figures are of MODEL itself; its ONNX was made for the while."""
    options = ("--calib", data, "--max-pictures", 1, "-o", tmp_path / "m.dlc", "--confirm", 1)
    result = run("quantize", rfb_checkpoint, *options, "--data", data)
    assert f"{rfb_checkpoint}: CPU, PyTorch" in result.stdout
    assert "checked on 1 image" in result.stdout
    assert "boxes, SQNR against float: HTP" in result.stdout


def test_data_that_cannot_be_used_stops_quantize_before_it_begins(tiny_onnx, data, tmp_path):
    cats = tmp_path / "cats.json"
    cats.write_text(data.read_text().replace('"head"', '"cat"'))
    options = ("-o", tmp_path / "m.dlc", "--images-root", data.parent)
    run(
        *("quantize", tiny_onnx, "--calib", data, "--data", cats, *options),
        error="has no category head",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["cats.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--confirm", 3), "--confirm needs --data"),
        (("--max-drop", 3), "--max-drop needs --data"),
        (("--data", "x.json", "--sdk-version", "2.30", "--dry-run"), "--data needs --toolchain"),
    ],
)
def test_options_that_mean_nothing(tiny_onnx, options, message):
    result = CliRunner().invoke(cli, ["quantize", str(tiny_onnx), *map(str, options)])
    assert result.exit_code == 2
    assert message in result.output


def test_several_models(quantized, data):
    folder, _ = quantized
    models = (folder / "m.onnx", folder / "m.quantized.onnx", folder / "m.onnx")
    threshold = ("--score-threshold", 0.4)  # the untrained detector is not sure of anything
    record = json.loads(run("evaluate", *models, "--data", data, "--json", *threshold).stdout)
    assert record["reference"] == str(models[0])
    first, second, third = record["models"]
    alone = json.loads(run("evaluate", models[1], "--data", data, "--json", *threshold).stdout)
    assert {**alone, "against_reference": second["against_reference"]} == second
    against = second["against_reference"]
    assert against["ap50_difference"] == pytest.approx(second["ap50"] - first["ap50"])
    low, high = against["ap50_difference_interval"]
    assert low <= against["ap50_difference"] <= high
    assert against["reference_detections"] > 0
    same = third["against_reference"]
    assert (same["ap50_difference"], same["detections_changed"]) == (0, 0)
    options = ("--fail-above", "changed=0", "--max-drop", 100, *threshold)
    result = run(
        *("evaluate", *models, "--data", data, *options),
        error=f"{models[1]}: changed is",
        kind=PersondetError,
    )
    assert result.exception.exit_code == 1
    assert "detections changed" in result.stdout


def test_one_model_held_to_a_limit(quantized, data):
    model = quantized[0] / "m.onnx"
    run("evaluate", model, "--data", data, "--fail-below", "AP50=0.5")
    run(
        *("evaluate", model, "--data", data, "--fail-below", "AP50=1.01"),
        error="below the limit 1.01",
        kind=PersondetError,
    )


def test_the_proxy_is_never_silent(quantized, data):
    folder, _ = quantized
    dlc, qdq = folder / "m.quantized.dlc", folder / "m.quantized.onnx"
    options = ("--data", data, "--json")
    result = run("evaluate", dlc, "--proxy", "--confirm", 2, *options)
    record = json.loads(result.stdout)
    assert record["model"] == str(dlc)
    assert "onnxruntime" in record["device"]
    assert "m.quantized.onnx in place of the DLC" in record["device"]
    assert f"note: m.quantized.onnx is evaluated in place of {dlc}" in result.stderr
    assert (record["proxy"]["images"], record["proxy"]["problems"]) == (2, [])
    assert set(record["proxy"]["outputs"]) == {"scores", "boxes"}
    assert record["proxy"]["near_scores"] > 0.5
    assert record["ap50"] == json.loads(run("evaluate", qdq, *options).stdout)["ap50"]


def test_the_proxy_beside_other_models(quantized, data):
    folder, _ = quantized
    models = (folder / "m.onnx", folder / "m.quantized.dlc")
    result = run("evaluate", *models, "--proxy", "--confirm", 1, "--data", data)
    assert f"{models[1]}: CPU, onnxruntime" in result.stdout
    assert "m.quantized.onnx in place of the DLC" in result.stdout
    assert "checked on 1 image" in result.stdout


def copied(folder, place):
    """The quantized DLC and what lies beside it."""
    for path in folder.glob("m.*"):
        shutil.copy(path, place / path.name)
    return place / "m.quantized.dlc"


def test_the_float_model_may_be_elsewhere(quantized, data, tmp_path):
    dlc = copied(quantized[0], tmp_path)
    (tmp_path / "m.onnx").unlink()
    result = run("evaluate", dlc, "--proxy", "--confirm", 1, "--data", data)
    assert "SQNR against float: not known, as the float ONNX is not beside the DLC" in result.stdout


def test_a_dlc_without_its_proxy(quantized, tiny_dlc, data, tmp_path):
    def proxy(dlc, error):
        run("evaluate", dlc, "--proxy", "--data", data, error=error)

    proxy(tiny_dlc, "says which QDQ ONNX has its graph; quantize it again")
    dlc = copied(quantized[0], tmp_path)
    shutil.copy(quantized[0] / "m.onnx", tmp_path / "m.quantized.onnx")  # of the same name
    proxy(dlc, "was written with the QDQ ONNX m.quantized.onnx of sha256")
    (tmp_path / "m.quantized.onnx").unlink()
    proxy(dlc, "which is not beside it; copy it there")
    (tmp_path / "m.quantized.dlc.json").unlink()
    proxy(dlc, "says which QDQ ONNX has its graph")
