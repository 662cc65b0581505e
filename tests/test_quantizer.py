"""From ONNX to a quantized DLC, in proof by Qualcomm's loader and against onnxruntime."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from conv_graph import constants

from export.onnx_export import export_onnx
from export.socs import soc
from export.verify import onnx_parameters
from persondet.boxes import iou_matrix
from persondet.errors import InputError, PersondetError
from persondet.images import read_image_rgb
from persondet.preprocess import preprocess
from persondet.sidecar import read_sidecar, sha256_of
from quantize import quantizer
from quantize.calibration_set import CalibrationSet, calibration_set
from quantize.encodings import read_encodings
from quantize.presets import PRESETS
from quantize.qdq import Scheme
from quantize.quantizer import QuantizeResult
from quantize.quantizer import quantize as quantize_by_recipe
from runtime.backend import open_backend
from runtime.detector import Detector
from runtime.qairt.graph import DlcGraph
from runtime.qairt.reader import read_dlc

PLAIN = PRESETS["snpe"].recipe
# Most tests here are of what is common to all recipes; those of equalisation have their own file.
quantize = functools.partial(quantize_by_recipe, recipe=PLAIN)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four smooth pictures, 60 x 90, in every colour."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(5)
    for index in range(4):
        blots = generator.integers(0, 256, (4, 6, 3), np.uint8)
        blots[0, 0], blots[-1, -1] = 0, 255
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(blots, (90, 60)))
    return folder


@pytest.fixture(scope="module")
def calibration(pictures: Path) -> CalibrationSet:
    return calibration_set(pictures)


@pytest.fixture(scope="module")
def quantized(tiny_onnx: Path, calibration: CalibrationSet, tmp_path_factory) -> QuantizeResult:
    """As SNPE does by default: 8 bits, one encoding a tensor. From float NCHW."""
    folder = tmp_path_factory.mktemp("quantized")
    return quantize(tiny_onnx, folder / "tiny.quantized.dlc", calibration=calibration)


@pytest.fixture(scope="module")
def quantized_bytes(
    tiny_uint8_onnx: Path, calibration: CalibrationSet, tmp_path_factory
) -> QuantizeResult:
    """Per channel, and camera bytes in."""
    folder = tmp_path_factory.mktemp("quantized8")
    scheme = Scheme(per_channel=True)
    return quantize(tiny_uint8_onnx, folder / "t.dlc", calibration=calibration, scheme=scheme)


def infer(path: Path, image_rgb: np.ndarray) -> np.ndarray:
    """Scores and boxes in one row."""
    backend = open_backend(path)
    outputs = backend.infer(preprocess(image_rgb, backend.spec))
    backend.close()
    return np.concatenate([outputs[name].reshape(-1) for name in ("scores", "boxes")])


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values.astype(np.float64) ** 2).mean()))


def contents(folder: Path) -> dict[str, str]:
    """Hidden files too."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_files_and_sidecars(quantized: QuantizeResult, tiny_onnx: Path) -> None:
    folder = quantized.dlc.path.parent
    assert sorted(contents(folder)) == [
        "tiny.quantized.dlc",
        "tiny.quantized.dlc.json",
        "tiny.quantized.encodings.json",
        "tiny.quantized.encodings.json.json",
        "tiny.quantized.onnx",
        "tiny.quantized.onnx.json",
    ]
    for path in (quantized.dlc.path, quantized.qdq, quantized.encodings):
        record = read_sidecar(path)
        assert record is not None
        assert record["step"] == "quantize"
        assert record["inputs"][0]["sha256"] == sha256_of(tiny_onnx)
        details = record["details"]
        assert details["scheme"] == {"act_bits": 8, "per_channel": False}
        assert details["calibration"] == "minmax"
        assert len(details["pictures"]) == 4
        assert details["widened_weight_scales"] == []
        assert record["spec"]["network"] == "tiny"
        entries = details.get("onnxruntime_session_entries")
        of_qdq = path == quantized.qdq
        assert entries == ({"session.x64quantprecision": "1"} if of_qdq else None)
    onnx.checker.check_model(onnx.load(quantized.qdq), full_check=True)


def test_a_dlc_of_another_name_keeps_the_float_onnx(quantized_bytes: QuantizeResult) -> None:
    """-o model.dlc beside model.onnx: the QDQ graph must not take its place."""
    assert quantized_bytes.dlc.path.name == "t.dlc"
    assert quantized_bytes.qdq.name == "t.quantized.onnx"
    assert quantized_bytes.encodings.name == "t.quantized.encodings.json"


def weights_of(dlc: DlcGraph) -> dict[str, Any]:
    return {
        name: tensor
        for name, tensor in dlc.tensors.items()
        if tensor.kind == "static" and len(tensor.shape) == 4
    }


def check_weights(dlc: DlcGraph, qdq: onnx.ModelProto, *, per_channel: bool) -> None:
    """Every weight and its encoding: HWIO in the DLC, OIHW in ONNX."""
    values = {re.sub("[/:.]", "_", name): array for name, array in constants(qdq).items()}
    weights = weights_of(dlc)
    convolutions = [node for node in qdq.graph.node if node.op_type == "Conv"]
    assert len(weights) == len(convolutions)
    for name, tensor in weights.items():
        stem = name.removesuffix("_quantized")
        assert tensor.dtype == ("sfixed8" if per_channel else "ufixed8")
        assert np.array_equal(tensor.data, values[name].transpose(2, 3, 1, 0))
        scales = np.atleast_1d(values[f"{stem}_scale"])
        zero_points = np.atleast_1d(values[f"{stem}_zero_point"]).astype(int)
        assert np.array_equal(np.float32(tensor.encoding.scales), scales)
        assert np.array_equal(tensor.encoding.offsets, -zero_points)
        assert tensor.encoding.axis == (3 if per_channel else None)


def test_the_dlc_holds_the_weights_of_the_qdq_graph(
    quantized: QuantizeResult, quantized_bytes: QuantizeResult
) -> None:
    for result, per_channel in ((quantized, False), (quantized_bytes, True)):
        dlc, qdq = read_dlc(result.dlc.path), onnx.load(result.qdq)
        check_weights(dlc, qdq, per_channel=per_channel)
        assert result.dlc.proof.parameters == onnx_parameters(qdq)


def test_bytes_go_in_exactly(quantized_bytes: QuantizeResult) -> None:
    dlc = read_dlc(quantized_bytes.dlc.path)
    image = dlc.tensors["image"]
    assert (image.kind, image.shape, image.dtype) == ("input", (1, 48, 80, 3), "ufixed8")
    assert (image.encoding.scales, image.encoding.offsets) == ((1 / 128,), (-127,))
    first = dlc.ops[0]  # no Quantize, no Transpose on the device
    assert (first.type, first.inputs[0]) == ("Conv2d", "image")
    assert read_encodings(quantized_bytes.encodings).activations["image"].scale == 1 / 128


@pytest.mark.parametrize("bits", [8, 16])
def test_the_emulated_chip_follows_onnxruntime(
    bits: int,
    quantized_bytes: QuantizeResult,
    tiny_onnx: Path,
    tiny_uint8_onnx: Path,
    calibration: CalibrationSet,
    tmp_path: Path,
) -> None:
    """At 8 bits the chip's own rounding is about one more quantization; at 16 it vanishes."""
    result, source = quantized_bytes, tiny_uint8_onnx
    if bits == 16:
        source = tiny_onnx
        scheme = Scheme(16, per_channel=True)
        result = quantize(source, tmp_path / "t.dlc", calibration=calibration, scheme=scheme)
    image_rgb = next(calibration.images_rgb())
    chip, qdq, exact = (infer(p, image_rgb) for p in (result.dlc.path, result.qdq, source))
    quantization_error = rms(qdq - exact)
    assert 0 < quantization_error < 0.02 * rms(exact)
    assert rms(chip - qdq) < (1.3 if bits == 8 else 0.3) * quantization_error
    assert rms(chip - exact) < 1.5 * quantization_error


def test_encodings_taken_back_give_the_same_dlc(
    quantized_bytes: QuantizeResult, tiny_uint8_onnx: Path, tmp_path: Path
) -> None:
    again = quantize(tiny_uint8_onnx, tmp_path / "t.dlc", encodings=quantized_bytes.encodings)
    assert again.qdq.read_bytes() == quantized_bytes.qdq.read_bytes()
    assert again.encodings.read_bytes() == quantized_bytes.encodings.read_bytes()
    first, second = read_dlc(quantized_bytes.dlc.path), read_dlc(again.dlc.path)
    assert first.tensors == second.tensors  # names, shapes, types, encodings
    for name, tensor in first.tensors.items():
        assert tensor.data is None or np.array_equal(tensor.data, second.tensors[name].data)
    record = read_sidecar(again.dlc.path)
    assert record is not None
    assert [item["name"] for item in record["inputs"]][1] == quantized_bytes.encodings.name
    assert record["details"]["scheme"] == {"act_bits": 8, "per_channel": True}
    assert "pictures" not in record["details"]


def from_encodings(model: Path, encodings: Path) -> quantizer.QuantizedGraph:
    loaded, spec = quantizer.load_detector_onnx(model)
    return quantizer.graph_from_encodings(loaded, spec, read_encodings(encodings))


def test_encodings_fit_every_input_format(
    quantized: QuantizeResult,
    quantized_bytes: QuantizeResult,
    tiny_checkpoint,
    tiny_onnx: Path,
    tiny_uint8_onnx: Path,
    tmp_path: Path,
) -> None:
    nhwc = export_onnx(tiny_checkpoint, tmp_path / "nhwc.onnx", input_format="float-nhwc").path
    of_bytes = read_encodings(quantized_bytes.encodings)
    for model in (tiny_onnx, nhwc):
        assert from_encodings(model, quantized_bytes.encodings).encodings == of_bytes
    # The other way round bytes keep their own encoding, whatever pictures the file saw.
    record = json.loads(quantized.encodings.read_text())
    record["activation_encodings"]["image"] = [{"bitwidth": 8, "min": -0.5, "max": 0.5}]
    path = tmp_path / "narrow.json"
    path.write_text(json.dumps(record))
    graph = from_encodings(tiny_uint8_onnx, path)
    assert graph.encodings.activations["image"] == of_bytes.activations["image"]
    assert constants(graph.model)["image_scale"] == np.float32(1 / 128)
    assert constants(graph.model)["image_zero_point"] == 127


def test_encodings_of_another_model(quantized: QuantizeResult, tmp_path: Path, tiny_onnx) -> None:
    record = json.loads(quantized.encodings.read_text())
    path = tmp_path / "other.json"
    names = list(record["activation_encodings"])
    record["activation_encodings"]["nonsense"] = record["activation_encodings"].pop(names[2])
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="name 1 tensors that the model does not have: nonsense"):
        quantize(tiny_onnx, tmp_path / "t.dlc", encodings=path)
    del record["activation_encodings"]["nonsense"]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="no encodings are given for 1 activations of the model"):
        quantize(tiny_onnx, tmp_path / "t.dlc", encodings=path)
    assert contents(tmp_path).keys() == {"other.json"}


def test_every_method_and_the_progress(tiny_onnx: Path, calibration: CalibrationSet) -> None:
    model, spec = quantizer.load_detector_onnx(tiny_onnx)
    widths = {}
    for method in ("minmax", "percentile", "entropy", "mse"):
        steps: list[int] = []

        @contextlib.contextmanager
        def progress(label: str, total: int | None, steps: list[int] = steps):
            assert (label, total) in (("equalising", None), ("calibrating", 4))
            yield lambda: steps.append(1)

        recipe = dataclasses.replace(PLAIN, calibration=method)
        graph = quantizer.graph_from_images(model, spec, calibration, Scheme(), recipe, progress)
        assert len(steps) == 4
        encodings = graph.encodings.activations.values()
        widths[method] = sum(encoding.max - encoding.min for encoding in encodings)
    assert max(widths, key=widths.__getitem__) == "minmax"
    assert min(widths.values()) > 0.3 * widths["minmax"]


def test_context_binary(tiny_uint8_onnx: Path, calibration: CalibrationSet, tmp_path: Path) -> None:
    result = quantize(
        tiny_uint8_onnx, tmp_path / "t.dlc", calibration=calibration, soc=soc("qcm6490")
    )
    assert result.dlc.context_binary == tmp_path / "t.qcm6490.bin"
    assert result.dlc.context_binary.stat().st_size > 1000


@pytest.fixture
def earlier(quantized: QuantizeResult, tmp_path: Path) -> dict[str, str]:
    """Artefacts of an earlier run, where the next will be written."""
    for path in quantized.dlc.path.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return contents(tmp_path)


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("quantize.quantized_graph.preprocess", KeyboardInterrupt()),
        ("quantize.quantized_graph.observe", PersondetError("no")),
        ("export.embedded.write_dlc", OSError(28, "No space left on device")),
        ("export.embedded.write_dlc", KeyboardInterrupt()),
        ("export.embedded.prove_dlc", PersondetError("no")),  # the DLC is written by then
    ],
)
def test_failure_leaves_everything_as_it_was(
    where: str,
    error: BaseException,
    earlier: dict[str, str],
    tiny_onnx: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(where, fail)
    expected = InputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        quantize(
            tiny_onnx, tmp_path / "tiny.quantized.dlc", calibration=calibration_set(pictures, 1)
        )
    assert contents(tmp_path) == earlier


def test_an_unreadable_picture_stops_it(
    tiny_onnx: Path, pictures: Path, tmp_path: Path, earlier: dict[str, str]
) -> None:
    (tmp_path / "pictures").mkdir()
    for path in pictures.iterdir():
        (tmp_path / "pictures" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pictures" / "2.png").write_bytes(b"\x89PNG and no more")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"cannot read the picture .*2\.png"):
        quantize(
            tiny_onnx,
            tmp_path / "tiny.quantized.dlc",
            calibration=calibration_set(tmp_path / "pictures"),
        )
    assert contents(tmp_path) == before


def test_wrong_models(
    quantized: QuantizeResult, tiny_checkpoint, calibration: CalibrationSet, tmp_path: Path
) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("not a model")
    for model, message in (
        (quantized.qdq, r"is quantized already; give the float ONNX"),
        (quantized.dlc.path, r"is not an ONNX file; export the checkpoint with `persondet export`"),
        (tiny_checkpoint.path, r"is not an ONNX file; export the checkpoint"),
        (text, r"is not a valid ONNX model .*; export the checkpoint"),
        (tmp_path / "none.onnx", r"none\.onnx"),
    ):
        with pytest.raises(InputError, match=message):
            quantize(model, tmp_path / "out.dlc", calibration=calibration)
    assert contents(tmp_path).keys() == {"text.onnx"}


def refuse_calibration(*_: object, **__: object) -> None:
    raise AssertionError("calibrated before the mistake was found")


def test_mistakes_are_found_before_calibrating(
    quantized: QuantizeResult,
    tiny_onnx: Path,
    calibration: CalibrationSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quantize.quantized_graph.observe", refuse_calibration)
    out = tmp_path / "t.dlc"
    with pytest.raises(InputError, match="give either calibration pictures or an encodings file"):
        quantize(tiny_onnx, out)
    with pytest.raises(InputError, match="give either calibration pictures or an encodings file"):
        quantize(tiny_onnx, out, calibration=calibration, encodings=quantized.encodings)
    with pytest.raises(InputError, match="either a scheme or an encodings file"):
        quantize(tiny_onnx, out, encodings=quantized.encodings, scheme=Scheme())
    with pytest.raises(InputError, match=r"the result's name must end in \.dlc"):
        quantize(tiny_onnx, tmp_path / "t.bin", calibration=calibration)
    (tmp_path / "t.quantized.onnx").mkdir()
    with pytest.raises(InputError, match=r"t\.quantized\.onnx: it is a folder"):
        quantize(tiny_onnx, out, calibration=calibration)
    encodings = tmp_path / "u.quantized.encodings.json"
    encodings.write_bytes(quantized.encodings.read_bytes())
    with pytest.raises(InputError, match=r"encodings\.json would be overwritten by its own result"):
        quantize(tiny_onnx, tmp_path / "u.dlc", encodings=encodings)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        quantize(tiny_onnx, tmp_path / "file" / "t.dlc", calibration=calibration)
    assert sorted(contents(tmp_path)) == ["file", "u.quantized.encodings.json"]


def invoke(*arguments: object):
    from persondet.cli.quantize import command

    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_command(tiny_onnx: Path, pictures: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_onnx.read_bytes())
    result = invoke(model, "--calib", pictures, "--max-pictures", 3)
    assert result.exit_code == 0, result.output
    assert "equalised: 3 groups of channels" in result.stdout
    assert f"{tmp_path / 'm.equalized.onnx'}: the float graph to which" in result.stdout
    assert f"calibrated on 3 pictures of {pictures} (mse)" in result.stdout
    assert f"{tmp_path / 'm.quantized.dlc'}: " in result.stdout
    assert f"{tmp_path / 'm.quantized.onnx'}: the same graph for onnxruntime" in result.stdout
    assert "set the session option session.x64quantprecision to 1" in result.stdout
    assert "fewer than 10 pictures" in result.stderr
    assert (tmp_path / "m.quantized.encodings.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --calib DIR|LIST|VIDEO, or --encodings FILE"),
        (("--calib", "a", "--encodings", "b"), "one of them"),
        (
            ("--encodings", "b", "--act-bits", "8", "--per-channel"),
            "--per-channel, --act-bits: the",
        ),
        (("--encodings", "b", "--max-pictures", "9"), "--max-pictures: the encodings file says"),
        (("--calib", "a", "--context-binary"), "--context-binary needs --soc NAME"),
        (("--calib", "a", "--max-pictures", "0"), "0 is not in the range x>=1"),
        (("--calib", "a", "--act-bits", "4"), "'4' is not one of '8', '16'"),
    ],
)
def test_command_usage(arguments: tuple[str, ...], message: str) -> None:
    result = invoke("m.onnx", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def detections(path: Path, image_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    backend = open_backend(path)
    found = Detector(backend)(image_rgb)
    backend.close()
    return found.boxes_xyxy_px, found.scores


@pytest.mark.parametrize(("per_channel", "least_iou"), [(False, 0.7), (True, 0.85)])
def test_the_pretrained_detector_keeps_its_person(
    per_channel: bool,
    least_iou: float,
    ssdlite_onnx: Path,
    astronaut: Path,
    bikes: Path,
    tmp_path: Path,
) -> None:
    """One encoding a tensor is hard on depthwise layers: that is what SNPE's default costs."""
    image_rgb = read_image_rgb(astronaut)
    listed = tmp_path / "list.txt"
    for index, frame in enumerate(calibration_set(bikes, 5).images_rgb()):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame[:, :, ::-1])
    names = [f"{index}.png" for index in range(5)]
    listed.write_text("\n".join([str(astronaut), *names]))
    calibration, scheme = calibration_set(listed), Scheme(per_channel=per_channel)
    result = quantize(ssdlite_onnx, tmp_path / "p.dlc", calibration=calibration, scheme=scheme)
    assert result.dlc.proof.parameters == onnx_parameters(onnx.load(ssdlite_onnx))
    check_weights(read_dlc(result.dlc.path), onnx.load(result.qdq), per_channel=per_channel)

    chip, qdq, exact = (infer(p, image_rgb) for p in (result.dlc.path, result.qdq, ssdlite_onnx))
    assert rms(chip - qdq) < 1.3 * rms(qdq - exact)
    (boxes, scores), (exact_boxes, exact_scores) = (
        detections(path, image_rgb) for path in (result.dlc.path, ssdlite_onnx)
    )
    assert len(boxes) == len(exact_boxes) == 1
    assert np.abs(scores - exact_scores).max() < 0.1
    assert iou_matrix(boxes, exact_boxes).max() >= least_iou


def test_f38_at_16_bits_per_channel(f38_onnx: Path, astronaut: Path, tmp_path: Path) -> None:
    scheme = Scheme(16, per_channel=True)
    result = quantize(
        f38_onnx, tmp_path / "f.dlc", calibration=calibration_set(astronaut), scheme=scheme
    )
    assert result.dlc.proof.parameters == 2_750_864
    image_rgb = read_image_rgb(astronaut)
    chip, qdq, exact = (infer(p, image_rgb) for p in (result.dlc.path, result.qdq, f38_onnx))
    assert rms(chip - qdq) < 0.003 * qdq.std()
    assert rms(chip - exact) < 0.1 * exact.std()
