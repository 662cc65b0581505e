"""Which backend a file gets, and the onnxruntime and PyTorch backends themselves."""

import dataclasses
import io
import pickle
import sys
import zipfile
from importlib import metadata

import numpy as np
import pytest
import torch
from described import describe
from tiny_detector import SPEC, outputs_with, save_onnx, with_format

from persondet.checkpoint import save_checkpoint
from persondet.errors import InputError, missing_package
from persondet.networks import build_network
from persondet.preprocess import preprocess
from persondet.spec import INPUT_FORMATS
from persondet.zoo import detector_spec
from runtime.backend import model_kind, open_backend
from runtime.detector import Detector
from runtime.onnx_backend import OnnxBackend
from runtime.torch_backend import TorchBackend

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 70, 3), np.uint8)


def zip_of(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


CONTENTS = {
    "onnx": b"\x08\x08\x12\x07pytorch",
    "dlc": zip_of("dlc.metadata", "model", "model.params"),
    "pth": zip_of("archive/data.pkl", "archive/version"),
    "old pth": pickle.dumps(119547037146038801333356, protocol=2),
    "tells nothing": b"\x0a\x03abc",
    "a broken zip": b"PK\x03\x04 and then nothing",
    "another zip": zip_of("word/document.xml"),
}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.onnx", "onnx", "onnx"),
        ("a.DLC", "dlc", "dlc"),
        ("a.pth", "pth", "pth"),
        ("a.pt", "old pth", "pth"),
        ("a.onnx", "tells nothing", "onnx"),
        ("a.dlc", "a broken zip", "dlc"),
        ("a.pth", "another zip", "pth"),
    ],
)
def test_the_suffix_decides(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(CONTENTS[content])
    assert model_kind(tmp_path / name) == kind


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.onnx", "dlc", r"expected an ONNX model, found a DLC; rename it to end in \.dlc"),
        ("a.dlc", "onnx", r"expected a DLC, found an ONNX model; rename it to end in \.onnx"),
        ("a.onnx", "old pth", r"found a PyTorch checkpoint; rename it to end in \.pth"),
        ("a.pth", "dlc", r"expected a PyTorch checkpoint, found a DLC"),
        ("a.dlc", "pth", r"expected a DLC, found a PyTorch checkpoint"),
        ("a.tflite", "onnx", r"a\.tflite is no model: expected a \.pth, \.onnx or \.dlc file"),
        ("noname", "onnx", "noname is no model"),
    ],
)
def test_a_renamed_file_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(CONTENTS[content])
    with pytest.raises(InputError, match=message):
        open_backend(tmp_path / name)


def test_missing_empty_and_folder(tmp_path):
    with pytest.raises(InputError, match=r"none\.onnx does not exist"):
        open_backend(tmp_path / "none.onnx")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(InputError, match=r"empty\.onnx is empty"):
        open_backend(tmp_path / "empty.onnx")
    (tmp_path / "folder.dlc").mkdir()
    with pytest.raises(InputError, match=r"folder\.dlc is a folder"):
        open_backend(tmp_path / "folder.dlc")


@pytest.mark.parametrize(("name", "package"), [("tiny.onnx", "onnxruntime"), ("tiny.pth", "torch")])
def test_a_missing_package_is_told_with_its_wheel(tmp_path, monkeypatch, name, package):
    save_onnx(tmp_path / "tiny.onnx", outputs_with({}))
    with zipfile.ZipFile(tmp_path / "tiny.pth", "w") as archive:
        archive.writestr("tiny/data.pkl", b"")
    monkeypatch.setitem(sys.modules, package, None)
    for ours in ("runtime.onnx_backend", "runtime.onnx_session", "persondet.checkpoint"):
        monkeypatch.delitem(sys.modules, ours, raising=False)
    message = rf"'{package}' is not installed.*: pip install '?{package}(>=[\d.]+')?$"
    with pytest.raises(InputError, match=message):
        open_backend(tmp_path / name)


REQUIRES = [
    "numpy>=2.0",
    'onnxruntime-qnn==2.7.0; extra == "qairt"',
    'onnx>=1.17; extra == "full"',
    'persondet[onnx]; extra == "full"',
]


@pytest.mark.parametrize(
    ("module", "wheel"),
    [
        ("onnxruntime_qnn", "onnxruntime-qnn==2.7.0"),
        ("onnx.helper", "'onnx>=1.17'"),
        ("onnxsim", "onnxsim"),
        ("cv2", "opencv-python"),
    ],
)
def test_the_wheel_of_a_missing_package_is_named(monkeypatch, module, wheel):
    monkeypatch.setattr("importlib.metadata.requires", lambda name: REQUIRES)
    told = missing_package(ModuleNotFoundError(name=module))
    assert isinstance(told, InputError) and str(told).endswith(f"here: pip install {wheel}")


def test_the_wheel_of_a_missing_package_where_only_our_modules_are(monkeypatch):
    def unknown(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.requires", unknown)
    told = missing_package(ModuleNotFoundError(name="pycocotools.coco"))
    assert str(told).endswith("pip install pycocotools")


def test_a_missing_module_of_ours_is_a_bug():
    for name in ("runtime.nothing", None):
        bug = ModuleNotFoundError(name=name)
        assert missing_package(bug) is bug


@pytest.mark.parametrize("input_format", INPUT_FORMATS)
def test_onnx_with_its_spec_inside(tmp_path, input_format):
    spec = with_format(input_format)
    outputs = outputs_with({15: (0, 0, 9)}, spec)
    path = save_onnx(tmp_path / "größe.onnx", outputs, spec)
    backend = open_backend(str(path), threads=1)
    assert backend.spec == spec
    assert backend.name == "größe.onnx"
    assert backend.device.startswith("CPU, onnxruntime 1.")
    found = backend.infer(preprocess(PICTURE, spec))
    for name, expected in outputs.items():
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == np.float32
    assert len(Detector(backend)(PICTURE)) == 1
    backend.close()


def test_names_of_tensors_come_from_the_spec(tmp_path):
    spec = dataclasses.replace(SPEC, input_name="in put", scores_name="classes", boxes_name="loc")
    scores_and_boxes = outputs_with({}, spec)
    outputs = {"loc": scores_and_boxes["boxes"], "classes": scores_and_boxes["scores"]}
    backend = OnnxBackend(save_onnx(tmp_path / "a.onnx", outputs, spec))
    assert set(backend.infer(preprocess(PICTURE, spec))) == {"classes", "loc"}


def test_onnx_whose_metadata_was_dropped(tmp_path):
    path = save_onnx(tmp_path / "a.onnx", outputs_with({}), metadata=False)
    with pytest.raises(InputError, match=r"no persondet_spec in its metadata, no sidecar .*--spec"):
        OnnxBackend(path)
    assert OnnxBackend(path, SPEC).spec == SPEC
    describe(path, step="export", inputs=[], spec=SPEC)
    assert OnnxBackend(path).spec == SPEC


def test_onnx_prefers_its_own_spec(tmp_path):
    path = save_onnx(tmp_path / "a.onnx", outputs_with({}))
    assert OnnxBackend(path, dataclasses.replace(SPEC, nms_iou=0.9)).spec == SPEC


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"rename": {"scores": "conf"}}, ["output 'scores' is missing, found conf, boxes"]),
        (
            {"input_shape": ("batch", 3, 48, 80)},
            ["input 'image': expected", "batch, 3, 48, 80", "dynamic shapes"],
        ),
        ({"input_shape": (1, 3, 80, 48)}, ["input 'image'", "1, 3, 48, 80", "1, 3, 80, 48"]),
    ],
)
def test_an_onnx_that_does_not_fit_its_spec(tmp_path, options, messages):
    path = save_onnx(tmp_path / "a.onnx", outputs_with({}), **options)
    with pytest.raises(InputError, match="does not fit its spec; export the checkpoint") as caught:
        OnnxBackend(path)
    for message in messages:
        assert message in str(caught.value)


def test_an_onnx_of_another_anchor_count_and_type(tmp_path):
    outputs = outputs_with({})
    outputs["boxes"] = outputs["boxes"][:, :30]
    with pytest.raises(InputError, match=r"output 'boxes': .*1, 38, 4.*1, 30, 4"):
        OnnxBackend(save_onnx(tmp_path / "a.onnx", outputs))
    floats = save_onnx(tmp_path / "b.onnx", outputs_with({}), metadata=False)
    with pytest.raises(InputError, match=r"input 'image': .*uint8.*1, 48, 80, 3"):
        OnnxBackend(floats, with_format("uint8-nhwc"))


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_a_truncated_onnx_is_refused(tmp_path, capfd, kept):
    path = save_onnx(tmp_path / "a.onnx", outputs_with({}))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match=r"a\.onnx.* (expected an ONNX model|does not say)"):
        OnnxBackend(path)
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    spec = detector_spec("rfb-tiny-mb2-ssd-c32")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pth"
    save_checkpoint(path, build_network(spec), spec)
    return path, spec


def test_a_checkpoint_runs_as_it_is(checkpoint):
    path, spec = checkpoint
    backend = open_backend(path)
    assert isinstance(backend, TorchBackend)
    assert backend.spec == spec
    assert backend.device.startswith("CPU, PyTorch ")
    tensor = preprocess(PICTURE, spec)
    found = backend.infer(tensor)
    assert {name: array.shape for name, array in found.items()} == {
        "scores": (1, 13_260, 2),
        "boxes": (1, 13_260, 4),
    }
    again = backend.infer(tensor)
    np.testing.assert_array_equal(found["scores"], again["scores"])
    Detector(backend, 0.0, top_k=5)(PICTURE)
    backend.close()


def test_a_spec_given_replaces_the_checkpoints(checkpoint):
    path, spec = checkpoint
    given = dataclasses.replace(spec, score_threshold=0.1, input_format="uint8-nhwc")
    backend = TorchBackend(path, given)
    assert backend.spec == dataclasses.replace(spec, score_threshold=0.1)  # torch takes floats
    with pytest.raises(InputError, match=r"tiny\.pth does not fit the spec given"):
        TorchBackend(path, SPEC)
