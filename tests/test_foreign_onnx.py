"""An ONNX with raw heads from another exporter converts and quantizes; a cooked one is refused."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from foreign_onnx import Cooked, exported, with_constant_nodes, with_identity, without_node_names
from tiny_network import TinyNetwork

from export.dlc_names import renamed, with_dlc_names
from export.onnx_model import load_detector_onnx, store_spec
from export.plain_graph import is_plain, plain_graph
from export.raw_graph import cooked_outputs
from persondet.anchors import anchors_cxcywh_norm
from persondet.cli import cli
from persondet.errors import InputError
from persondet.images import write_image_rgb
from persondet.preprocess import preprocess
from persondet.spec import spec_to_json
from runtime.backend import open_backend
from runtime.detector import Detector

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


@pytest.fixture
def spec(tiny_checkpoint):
    """Its tensors have the names of another exporter."""
    return dataclasses.replace(
        tiny_checkpoint.spec, input_name="input.1", scores_name="conf", boxes_name="loc"
    )


@pytest.fixture
def files(tmp_path, spec):
    """The spec beside a picture."""
    (tmp_path / "spec.json").write_text(spec_to_json(spec))
    write_image_rgb(tmp_path / "picture.png", PICTURE)
    return tmp_path


def _run(*arguments: str | Path):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def _expected(tiny_checkpoint) -> list[np.ndarray]:
    with torch.inference_mode():
        tensor = torch.from_numpy(preprocess(PICTURE, tiny_checkpoint.spec))
        return [output.numpy() for output in tiny_checkpoint.network(tensor)]


def _sqnr_db(reference: np.ndarray, found: np.ndarray) -> float:
    noise = (reference.astype(np.float64) - found) ** 2
    return float(10 * np.log10((reference.astype(np.float64) ** 2).sum() / noise.sum()))


_FORMS: dict[str, Callable[..., onnx.ModelProto]] = {
    "opset 9, initializers as inputs": lambda network, spec: exported(
        network, spec, 9, keep_initializers_as_inputs=True
    ),
    "opset 11": lambda network, spec: exported(network, spec, 11),
    "opset 13, Constant nodes": lambda network, spec: with_constant_nodes(
        exported(network, spec, 13)
    ),
    "opset 15, Identity, no names": lambda network, spec: without_node_names(
        with_identity(exported(network, spec, 15), ("Conv", "BatchNormalization"))
    ),
    "opset 17, folded, Constant nodes": lambda network, spec: with_constant_nodes(
        exported(network, spec, training=torch.onnx.TrainingMode.EVAL, do_constant_folding=True)
    ),
}


@pytest.mark.parametrize("form", _FORMS)
def test_it_converts_and_quantizes(form, files, spec, tiny_checkpoint) -> None:
    path = files / "model.onnx"
    onnx.save(_FORMS[form](tiny_checkpoint.network, spec), path)
    for arguments in (
        ["convert", path, "--spec", files / "spec.json"],
        ["quantize", path, "--spec", files / "spec.json", "--calib", files / "picture.png"],
    ):
        result = _run(*arguments)
        assert result.exit_code == 0, result.output + str(result.exception)
    expected = _expected(tiny_checkpoint)
    for name, least_db in (
        ("model.dlc", 50),
        ("model.quantized.onnx", 20),
        ("model.quantized.dlc", 20),
    ):
        backend = open_backend(files / name)
        is_dlc = name.endswith(".dlc")  # which has no dots in names
        assert backend.spec == dataclasses.replace(spec, input_name=("input.1", "input_1")[is_dlc])
        found = backend.infer(preprocess(PICTURE, spec))
        for reference, output in zip(expected, (found["conf"], found["loc"]), strict=True):
            assert _sqnr_db(reference, output) > least_db, (name, _sqnr_db(reference, output))
        backend.close()


def test_own_metadata_needs_no_spec(files, spec, tiny_checkpoint) -> None:
    model = with_identity(exported(tiny_checkpoint.network, spec, 12))
    store_spec(model, spec, spec_to_json(spec))
    onnx.save(model, files / "model.onnx")
    assert _run("convert", files / "model.onnx").exit_code == 0
    result = _run("quantize", files / "model.onnx", "--calib", files / "picture.png")
    assert result.exit_code == 0, result.output


def test_our_own_exports_stay_as_they_are(tiny_onnx, tiny_uint8_onnx, f38_onnx) -> None:
    for path in (tiny_onnx, tiny_uint8_onnx, f38_onnx):
        model = onnx.load(path)
        assert is_plain(model)
        assert plain_graph(model) is model


def test_the_plain_graph_computes_the_same(spec, tiny_checkpoint) -> None:
    for form in _FORMS.values():
        model = plain_graph(form(tiny_checkpoint.network, spec))
        assert is_plain(model)
        assert [value.name for value in model.graph.input] == ["input.1"]
        assert not {node.op_type for node in model.graph.node} & {
            *("Constant", "Identity", "BatchNormalization", "Shape", "Gather", "Unsqueeze")
        }
        onnx.checker.check_model(model, full_check=True)


def test_the_given_spec_goes_before_the_files_own(files, spec, tiny_onnx) -> None:
    given = dataclasses.replace(load_detector_onnx(tiny_onnx)[1], nms_iou=0.25)
    (files / "spec.json").write_text(spec_to_json(given))
    result = _run("convert", tiny_onnx, "--spec", files / "spec.json", "-o", files / "a.dlc")
    assert result.exit_code == 0, result.output
    assert open_backend(files / "a.dlc").spec.nms_iou == 0.25


def test_without_a_spec_the_message_names_the_option(files, spec, tiny_checkpoint) -> None:
    onnx.save(exported(tiny_checkpoint.network, spec), files / "model.onnx")
    with pytest.raises(InputError, match=r"no detector spec in its metadata .*--spec FILE"):
        load_detector_onnx(files / "model.onnx")


COOKED = {
    "softmax": ({"scores": "softmax"}, "'conf' is made by .*Softmax.*no logits", "sums to 1"),
    "sigmoid": ({"scores": "sigmoid"}, "'conf' is made by .*Sigmoid.*no logits", "sigmoid"),
    "corners": ({"boxes": "corners"}, "'loc' is made by .*Exp.*no offsets", "decoded .corners"),
    "centres": ({"boxes": "centres"}, "'loc' is made by .*Exp.*no offsets", "centre and size"),
}


@pytest.fixture(params=COOKED)
def cooked(request, files, spec, tiny_checkpoint):
    """A file with our metadata copied into it, and what the graph and its outputs give away."""
    options, in_graph, at_run_time = COOKED[request.param]
    anchors = torch.from_numpy(anchors_cxcywh_norm(spec))
    model = exported(Cooked(tiny_checkpoint.network, anchors, **options), spec)
    store_spec(model, spec, spec_to_json(spec))
    onnx.save(model, files / "cooked.onnx")
    return files / "cooked.onnx", in_graph, at_run_time


def test_a_cooked_graph_is_refused_by_its_nodes(cooked, tmp_path) -> None:
    path, in_graph, _ = cooked
    picture = path.with_name("picture.png")
    for arguments in (["convert", path], ["quantize", path, "--calib", picture]):
        result = _run(*arguments)
        assert isinstance(result.exception, InputError), result.output
        assert re.search(in_graph, str(result.exception)), result.exception
        assert "expected raw heads: scores as logits" in str(result.exception)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *("cooked.onnx", "picture.png", "spec.json"),
    ]


def test_a_cooked_graph_is_refused_by_its_outputs(cooked) -> None:
    path, _, at_run_time = cooked
    detector = Detector(open_backend(path))
    with pytest.raises(InputError, match=rf"cooked\.onnx: .*{at_run_time}.*expected raw heads"):
        detector(PICTURE)


def test_anchors_inside_are_found_without_exp(spec, tiny_checkpoint) -> None:
    """Centres alone decoded: a Mul and an Add with a number per anchor."""

    class Centres(Cooked):
        def forward(self, images):
            scores, boxes = self.network(images)
            return scores, boxes + self.anchors

    anchors = torch.from_numpy(anchors_cxcywh_norm(spec))
    model = plain_graph(exported(Centres(tiny_checkpoint.network, anchors), spec))
    assert len(cooked_outputs(model, spec)) == 1
    assert "(Add): it is no offsets" in cooked_outputs(model, spec)[0]


def test_activations_before_the_heads_do_not_count(spec) -> None:
    """Sigmoid in the backbone (swish), a number per channel behind the last convolution."""
    network = TinyNetwork()
    network.stem[2] = torch.nn.SiLU()
    network.score_heads[0] = torch.nn.Sequential(network.score_heads[0], torch.nn.BatchNorm2d(6))
    network.box_heads[0] = torch.nn.Sequential(network.box_heads[0], torch.nn.BatchNorm2d(8))
    assert cooked_outputs(exported(network, spec), spec) == []


def test_names_that_a_dlc_cannot_have(tiny_onnx) -> None:
    model, spec = load_detector_onnx(tiny_onnx)
    assert with_dlc_names(model, spec) == (model, spec)
    odd = {"image": "input.1", "scores": "495", "boxes": "a/b:0"}
    odd_spec = dataclasses.replace(
        spec, input_name=odd["image"], scores_name=odd["scores"], boxes_name=odd["boxes"]
    )
    clash = model.graph.node[0].output[0]
    odd_model = renamed(model, {**odd, clash: "a_b_0"})
    named, named_spec = with_dlc_names(odd_model, odd_spec)
    names = (named_spec.input_name, named_spec.scores_name, named_spec.boxes_name)
    assert names == ("input_1", "_495", "a_b_0_")
    assert [value.name for value in named.graph.output] == ["_495", "a_b_0_"]
    onnx.checker.check_model(named, full_check=True)


def test_every_command_that_detects_refuses(files, spec, tiny_checkpoint) -> None:
    anchors = torch.from_numpy(anchors_cxcywh_norm(spec))
    cooked, raw, given = files / "cooked.onnx", files / "raw.onnx", files / "spec.json"
    model = exported(Cooked(tiny_checkpoint.network, anchors, "softmax", "corners"), spec)
    onnx.save(model, cooked)
    onnx.save(exported(tiny_checkpoint.network, spec), raw)
    annotated = {
        "images": [{"id": 1, "file_name": "picture.png", "width": 90, "height": 60}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 30, 40], "area": 1200}
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    (files / "coco.json").write_text(json.dumps(annotated))
    picture = files / "picture.png"
    data = ["--data", files / "coco.json", "--images-root", files, "--classes", "person"]
    for arguments in (
        ["detect", cooked, picture],
        ["compare", raw, cooked, "--images", picture],
        ["evaluate", cooked, *data],
        ["quantize", cooked, "--calib", picture],
        ["convert", cooked],
    ):
        result = _run(*arguments, "--spec", given)
        assert isinstance(result.exception, InputError), (arguments, result.output)
        assert "expected raw heads" in str(result.exception), arguments
    assert _run("detect", raw, picture, "--spec", given).exit_code == 0
