"""8 and 16 bits in one graph: what is converted, what is found; the emulated HTP runs it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from blots import write_blots
from conv_graph import constants, conv_graph, run

from export.onnx_model import load_detector_onnx
from persondet.errors import PersondetError
from persondet.images import read_image_rgb
from persondet.preprocess import preprocess
from quantize.bias_correction import with_values
from quantize.calibration_set import CalibrationSet, calibration_set
from quantize.converts import convert_count, converted, encoded_as, with_converts
from quantize.encodings import Encodings, encoding_from_range, encoding_of, read_encodings
from quantize.mixed_precision import (
    Mix,
    MixSearch,
    Try,
    fewest,
    graph_layers,
    macs_share,
    mix_of,
)
from quantize.presets import PRESETS, Recipe
from quantize.qdq import Scheme, scheme_of
from quantize.quantizer import QuantizeResult, quantize
from quantize.rounding_noise import Candidate
from runtime.backend import open_backend
from runtime.qairt.reader import read_dlc

SNPE = PRESETS["snpe"].recipe  # nothing is mended but by bits
STEM = "/stem/stem.0/Conv"
DEPTHWISE = "/depthwise/depthwise.0/Conv"


def chain(layers: int) -> onnx.ModelProto:
    """x -> conv0 -> z0 -> conv1 ... of 2 channels, 3 x 3 kernels for even layers; 4 x 5 pixels."""
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=(2, 2, 1, 1)) for _ in range(layers)]
    return conv_graph(
        weights, [np.zeros(2)] * layers, after=["Relu"] * (layers - 1), size_hw=(4, 5)
    )


def activations(names: dict[str, int]) -> dict:
    return {name: encoding_from_range(bits, -1.0, 2.0) for name, bits in names.items()}


def test_every_value_of_8_bits_is_one_of_16() -> None:
    narrow = encoding_of(8, 0.1, -57)
    wide = converted(narrow, 16)
    assert (wide.bitwidth, wide.offset) == (16, -57 * 257)
    assert (wide.min, wide.max) == pytest.approx((narrow.min, narrow.max))
    assert wide.scale * 257 == pytest.approx(0.1)
    assert converted(wide, 8).offset == narrow.offset
    assert converted(wide, 8).scale == pytest.approx(0.1)


def test_a_layer_reads_in_the_width_that_it_writes() -> None:
    """conv1 writes 16 bits: z0 is converted to them for it, and z1 from them for conv2."""
    model = chain(3)
    given = activations({"x": 8, "z0": 8, "z1": 16, "y2": 8})
    graph, encodings = with_converts(model, given)
    assert convert_count(graph) == 2
    inputs = {node.name: node.input[0] for node in graph.graph.node if node.op_type == "Conv"}
    assert inputs == {
        "conv0": "x",
        "conv1": "convert_z0_to_16",
        "conv2": "convert_z1_to_8",
    }
    assert encodings["convert_z0_to_16"] == converted(given["z0"], 16)
    assert set(encodings) - set(given) == {"convert_z0_to_16", "convert_z1_to_8"}
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 5))
    assert np.array_equal(run(graph, x)[0], run(model, x)[0])
    same, unchanged = with_converts(model, activations({"x": 8, "z0": 8, "z1": 8, "y2": 8}))
    assert (convert_count(same), len(unchanged)) == (0, 4)


def test_what_has_whose_encoding() -> None:
    model = chain(2)
    assert encoded_as(model.graph, {"x", "z0", "y1"}) == {
        "x": "x",
        "y0": "z0",
        "z0": "z0",
        "y1": "y1",
    }


def mixed(model: onnx.ModelProto, *tensors: str, narrow: tuple[str, ...] = ()) -> set[str]:
    names = [node.output[0] for node in model.graph.node]
    encoded = {"x"} | {n for n in names if n[0] == "z"} | {model.graph.output[0].name}
    chosen = [Candidate(name, False, 1.0) for name in tensors]
    return set(mix_of(chosen, graph_layers(model, encoded), narrow=narrow).wide)


def test_an_activation_needs_its_layer_and_its_readers() -> None:
    model = chain(6)
    assert mixed(model, "z1") == {"z1", "z2"}
    assert mixed(model, "y5") == {"y5"}
    assert mixed(model, "x") == {"x", "z0"}  # the input itself is stored in 16 bits then
    assert mixed(model, "z0") == {"x", "z0", "z1"}
    assert mixed(model, "z0", narrow=("x",)) == {"z0", "z1"}
    assert mixed(model) == set()


def test_an_8_bit_layer_between_wide_ones_becomes_wide() -> None:
    """conv3 stands alone between conv2 (reads z1) and conv4 (writes z4): two converts less."""
    model = chain(7)
    assert mixed(model, "z1", "z4") == {"z1", "z2", "z3", "z4", "z5", "y6"}
    assert mixed(chain(8), "z1", "z5") == {"z1", "z2", "z5", "z6", "y7"}


def test_multiplications_by_hand() -> None:
    """1 x 1 of 3 to 4 channels: 12 a pixel; 3 x 3 depthwise of 4: 36, on 2 x 3 pixels without
    padding of 4 x 5."""
    weights = [np.ones((4, 3, 1, 1)), np.ones((2, 4, 3, 3))]
    model = conv_graph(weights, [np.zeros(4), np.zeros(2)], after=["Relu"], size_hw=(4, 5))
    graph = graph_layers(model, {"x", "z0", "y1"})
    assert [layer.macs for layer in graph] == [12 * 20, 72 * 6]
    assert macs_share(Mix(frozenset({"y1"})), graph) == pytest.approx(432 / 672)
    assert [layer.weight for layer in graph] == ["w0", "w1"]


@pytest.mark.parametrize("needed", [*range(10), 20])
def test_as_few_as_are_enough(needed: int) -> None:
    candidates = [Candidate(str(index), False, 1.0) for index in range(12)]
    asked = []

    def is_enough(chosen) -> bool:
        asked.append(len(chosen))
        return len(chosen) >= needed

    found = fewest(candidates, is_enough)
    assert found is None if needed > 12 else found == tuple(candidates[:needed])
    assert len(asked) < 18


def test_what_proves_needless_is_left_out() -> None:
    candidates = [Candidate(name, False, 1.0) for name in "abcd"]
    found = fewest(candidates, lambda chosen: {"b", "d"} <= {one.tensor for one in chosen})
    assert found is not None
    assert [one.tensor for one in found] == ["b", "d"]
    assert fewest([], lambda chosen: False) is None


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> CalibrationSet:
    folder = tmp_path_factory.mktemp("pictures")
    write_blots(folder, 5)
    return calibration_set(folder)


def planted(onnx_path: Path, destination: Path, *, weights: bool = False) -> Path:
    """The tiny detector with one fault that 8 bits per tensor cannot hold.

    One channel after the stem lies at 60 or above, the others within a few units, and nobody reads
    it. Or with weights: one channel's weights are 300 times the others' of the same layer; again
    nobody reads it.
    """
    model, _ = load_detector_onnx(onnx_path)
    nodes = {node.name: node for node in model.graph.node}
    values = constants(model)
    stem, depthwise = (nodes[name].input for name in (STEM, DEPTHWISE))
    changed = {name: values[name].copy() for name in (stem[1], stem[2], depthwise[1])}
    changed[depthwise[1]][0] = 0
    if weights:
        changed[stem[1]][0] *= 300 / np.abs(changed[stem[1]][0]).max()
        changed[stem[2]][0] = -1e4  # the Relu makes 0 of it: the activation is none the wider
    else:
        changed[stem[2]][0] = 60
    onnx.save(with_values(model, changed), destination)
    return destination


def outputs(path: Path, image: Path) -> np.ndarray:
    backend = open_backend(path)
    try:
        found = backend.infer(preprocess(read_image_rgb(image), backend.spec))
    finally:
        backend.close()
    return np.concatenate([found[name].reshape(-1) for name in ("scores", "boxes")])


def searched(
    onnx_path: Path, calibration: CalibrationSet, *, max_drop: float, recipe: Recipe = SNPE
) -> tuple[QuantizeResult, list[Try]]:
    """Quantize; a point is a hundredth of the outputs' deviation."""
    exact = outputs(onnx_path, calibration.pictures[0])
    tries: list[Try] = []

    def points_lost(path: Path) -> float:
        error = outputs(path, calibration.pictures[0]) - exact
        return float(100 * np.sqrt(np.square(error).mean()) / exact.std())

    search = MixSearch(max_drop=max_drop, points_lost=points_lost, report=tries.append)
    destination = onnx_path.with_suffix(".quantized.dlc")
    result = quantize(onnx_path, destination, calibration=calibration, recipe=recipe, search=search)
    return result, tries


@pytest.mark.parametrize("input_format", ["float", "uint8"])
def test_the_layer_that_needs_16_bits_is_found_and_no_other(
    input_format: str,
    tiny_onnx: Path,
    tiny_uint8_onnx: Path,
    calibration: CalibrationSet,
    tmp_path: Path,
) -> None:
    source = tiny_onnx if input_format == "float" else tiny_uint8_onnx
    model = planted(source, tmp_path / "m.onnx")
    result, tries = searched(model, calibration, max_drop=1.0)
    found = result.mix
    assert found is not None
    assert found.wide == (STEM, DEPTHWISE)
    assert found.per_channel == ()
    assert tries == list(found.tries)
    assert [(one.wide, one.per_channel) for one in tries] == [(0, 0), (2, 0)]
    assert tries[0].points_lost > 3.5 > 1 > tries[1].points_lost == found.points_lost
    # the depthwise output goes back to 8 bits for each of its readers; bytes go to 16 first
    assert found.converts == (1 if input_format == "float" else 2)
    assert 0 < found.macs_share < 1

    graph = read_dlc(result.dlc.path)
    widths = {
        op.name.partition("_token")[0]: {
            np.dtype(graph.tensors[name].numpy_dtype).name for name in (op.inputs[0], *op.outputs)
        }
        for op in graph.ops
        if op.type in ("Conv2d", "DepthWiseConv2d")
    }
    wide = {name for name, types in widths.items() if types == {"uint16"}}
    assert wide == {STEM, DEPTHWISE}
    assert all(types == {"uint8"} for name, types in widths.items() if name not in wide)
    if input_format == "uint8":
        assert graph.tensors[graph.inputs[0]].numpy_dtype == "uint8"

    image = calibration.pictures[1]
    chip, qdq, exact = (outputs(path, image) for path in (result.dlc.path, result.qdq, model))
    assert np.sqrt(np.square(chip - qdq).mean()) < 1.3 * np.sqrt(np.square(qdq - exact).mean())

    details = json.loads(result.qdq.with_name(f"{result.qdq.name}.json").read_text())["details"]
    assert details["mixed_precision"] == json.loads(json.dumps(dataclasses.asdict(found)))
    again = quantize(model, tmp_path / "again.dlc", encodings=result.encodings)
    assert again.qdq.read_bytes() == result.qdq.read_bytes()
    assert again.encodings.read_bytes() == result.encodings.read_bytes()


def test_the_weights_that_need_a_scale_per_channel_are_found(
    tiny_onnx: Path, calibration: CalibrationSet, tmp_path: Path
) -> None:
    model = planted(tiny_onnx, tmp_path / "m.onnx", weights=True)
    result, tries = searched(model, calibration, max_drop=5.0)
    found = result.mix
    assert found is not None
    assert (found.wide, found.per_channel) == ((), (STEM,))
    assert (found.converts, found.macs_share) == (0, 0)
    assert tries[0].points_lost > 5 >= tries[-1].points_lost
    encodings = read_encodings(result.encodings).params
    channels = {len(values) for values in encodings.values()}
    assert channels == {1, 8}
    assert scheme_of(Encodings({}, encodings)) == Scheme()
    again = quantize(model, tmp_path / "again.dlc", encodings=result.encodings)
    assert again.qdq.read_bytes() == result.qdq.read_bytes()
    image = calibration.pictures[1]
    chip, qdq, exact = (outputs(path, image) for path in (result.dlc.path, result.qdq, model))
    assert np.sqrt(np.square(chip - qdq).mean()) < 1.3 * np.sqrt(np.square(qdq - exact).mean())


def test_8_bits_that_are_enough_stay(
    tiny_onnx: Path, calibration: CalibrationSet, tmp_path: Path
) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_onnx.read_bytes())
    result, _ = searched(model, calibration, max_drop=50.0, recipe=PRESETS["accurate"].recipe)
    assert result.mix is not None
    assert (result.mix.wide, result.mix.per_channel, len(result.mix.tries)) == ((), (), 1)
    plain = quantize(model, tmp_path / "plain.dlc", calibration=calibration)
    assert plain.qdq.read_bytes() == result.qdq.read_bytes()


def test_a_limit_that_nothing_keeps_to(
    tiny_onnx: Path, calibration: CalibrationSet, tmp_path: Path
) -> None:
    model = planted(tiny_onnx, tmp_path / "m.onnx")
    before = sorted(tmp_path.iterdir())
    message = (
        r"keeps to --max-drop 1e-06: the least that was lost is 0\.\d\d AP50 points, with 11 of "
    )
    with pytest.raises(PersondetError, match=message):
        searched(model, calibration, max_drop=1e-6)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), PersondetError("no")])
def test_a_search_that_is_stopped_leaves_nothing(
    error: BaseException, tiny_onnx: Path, calibration: CalibrationSet, tmp_path: Path
) -> None:
    seen: list[Path] = []

    def stop(path: Path) -> float:
        seen.append(path)
        raise error

    search = MixSearch(max_drop=1.0, points_lost=stop)
    destination = tmp_path / "m.dlc"
    with pytest.raises(type(error)):
        quantize(tiny_onnx, destination, calibration=calibration, recipe=SNPE, search=search)
    assert len(seen) == 1
    assert not seen[0].exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("per_channel", [False, True])
def test_16_bits_behind_a_camera_s_bytes(
    per_channel: bool, tiny_uint8_onnx: Path, calibration: CalibrationSet, tmp_path: Path
) -> None:
    """The HTP takes a Convert of the input; everything after it has 16 bits."""
    scheme = Scheme(16, per_channel)
    result = quantize(
        tiny_uint8_onnx, tmp_path / "m.dlc", calibration=calibration, recipe=SNPE, scheme=scheme
    )
    graph = read_dlc(result.dlc.path)
    assert graph.tensors[graph.inputs[0]].numpy_dtype == "uint8"
    assert sum(op.type == "Convert" for op in graph.ops) == 1
    convolutions = [op for op in graph.ops if op.type in ("Conv2d", "DepthWiseConv2d")]
    types = {graph.tensors[op.inputs[0]].numpy_dtype for op in convolutions}
    assert types == {"uint16"}
    image = calibration.pictures[1]
    files = (result.dlc.path, result.qdq, tiny_uint8_onnx)
    chip, qdq, exact = (outputs(path, image) for path in files)
    assert np.sqrt(np.square(chip - qdq).mean()) < 0.002
    assert np.sqrt(np.square(qdq - exact).mean()) < 0.002
    again = quantize(tiny_uint8_onnx, tmp_path / "again.dlc", encodings=result.encodings)
    assert again.qdq.read_bytes() == result.qdq.read_bytes()


def test_biases_are_corrected_with_the_converts(
    tiny_onnx: Path, calibration: CalibrationSet, tmp_path: Path
) -> None:
    """The file that is written is the one that was tried, correction and all."""
    recipe = dataclasses.replace(SNPE, corrects_biases=True)
    model = planted(tiny_onnx, tmp_path / "m.onnx")
    result, tries = searched(model, calibration, max_drop=1.0, recipe=recipe)
    assert result.mix is not None
    assert result.mix.wide == (STEM, DEPTHWISE)
    assert result.equalized is not None
    exact, found = (outputs(path, calibration.pictures[0]) for path in (model, result.qdq))
    lost = 100 * np.sqrt(np.square(found - exact).mean()) / exact.std()
    assert lost == pytest.approx(tries[-1].points_lost, rel=1e-3)
    again = quantize(result.equalized, tmp_path / "again.dlc", encodings=result.encodings)
    assert again.qdq.read_bytes() == result.qdq.read_bytes()
