"""runtime.dlc_backend: a DLC as a detector, and what does not fit its spec."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from persondet.errors import InputError, PersondetError
from persondet.images import read_image_rgb
from persondet.preprocess import preprocess
from persondet.sidecar import sidecar_path, spec_beside
from runtime import dlc_backend
from runtime.backend import open_backend
from runtime.detector import Detector
from runtime.dlc_backend import DEFAULT_ARCH, DlcBackend, _real_values
from runtime.qairt.graph import DlcTensor, Encoding


def test_f38_gives_onnxruntimes_outputs_on_a_picture(f38_dlc, f38_onnx, astronaut) -> None:
    dlc, reference = open_backend(f38_dlc), open_backend(f38_onnx)
    assert dlc.spec == reference.spec
    tensor = preprocess(read_image_rgb(astronaut), dlc.spec)
    found, expected = dlc.infer(tensor), reference.infer(tensor)
    dlc.close()
    assert set(found) == set(expected) == {"scores", "boxes"}
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == np.float32
        assert np.abs(array).max() > 0.3
        assert np.abs(found[name] - array).max() <= 1e-5


def test_the_same_detections_as_onnxruntime(tiny_dlc, tiny_onnx, astronaut) -> None:
    picture = read_image_rgb(astronaut)
    found, expected = (
        Detector(open_backend(path), score_threshold=0.4)(picture) for path in (tiny_dlc, tiny_onnx)
    )
    assert len(expected.scores) > 3
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    np.testing.assert_allclose(found.boxes_xyxy_px, expected.boxes_xyxy_px, atol=1e-3)


def test_it_says_what_it_is(tiny_dlc) -> None:
    backend = DlcBackend(tiny_dlc)
    assert backend.name == "tiny.dlc"
    assert backend.emulated
    assert backend.device.startswith(f"emulated Hexagon v{DEFAULT_ARCH} on this CPU (QAIRT v2.51.")
    assert "not the chip's" in backend.device
    backend.close()
    assert "Hexagon v68" in DlcBackend(tiny_dlc, arch=68).device


def test_a_dlc_that_came_alone_takes_a_spec(tiny_dlc, tmp_path) -> None:
    alone = shutil.copy(tiny_dlc, tmp_path / "alone.dlc")
    with pytest.raises(InputError, match=r"without its sidecar alone\.dlc\.json.*--spec FILE"):
        DlcBackend(alone)
    spec = spec_beside(tiny_dlc)
    assert DlcBackend(alone, spec).spec is spec


def test_a_sidecar_of_another_file(tiny_dlc, tmp_path) -> None:
    copy = shutil.copy(tiny_dlc, tmp_path / "copy.dlc")
    record = json.loads(sidecar_path(tiny_dlc).read_text())
    record["artefact"]["sha256"] = "0" * 64
    sidecar_path(copy).write_text(json.dumps(record))
    with pytest.raises(InputError, match="describes another file"):
        DlcBackend(copy)


def test_a_spec_that_does_not_fit(tiny_dlc) -> None:
    spec = spec_beside(tiny_dlc)
    assert spec is not None
    wrong = dataclasses.replace(spec, input_format="uint8-nhwc")
    with pytest.raises(
        InputError, match=r"expected uint8 \(1, 48, 80, 3\), got float32 \(1, 3, 48, 80\)"
    ):
        DlcBackend(tiny_dlc, wrong)
    wrong = dataclasses.replace(spec, class_names=("background", "person"), boxes_name="offsets")
    with pytest.raises(InputError, match=r"tiny\.dlc does not fit its spec") as caught:
        DlcBackend(tiny_dlc, wrong)
    assert "output 'scores': expected float32 (1, 150, 2), got float32" in str(caught.value)
    assert "output 'offsets' is missing, found" in str(caught.value)
    assert "unexpected output boxes" in str(caught.value)


def test_the_architecture_is_the_chips_own_on_a_board(tiny_dlc, monkeypatch) -> None:
    monkeypatch.setattr(dlc_backend, "is_emulated", lambda: False)
    with pytest.raises(InputError, match="only where it is emulated"):
        DlcBackend(tiny_dlc, arch=73)
    assert DlcBackend(tiny_dlc).device.startswith("Qualcomm HTP (QAIRT")


def _output(dtype: str, encoding: Encoding | None) -> DlcTensor:
    return DlcTensor("scores", "output", (3,), dtype, encoding)


def test_quantized_outputs_become_real_values() -> None:
    stored = np.array([0, 7, 255], np.uint8)
    found = _real_values(_output("ufixed8", Encoding((0.5,), (-7,))), stored)
    np.testing.assert_array_equal(found, np.array([-3.5, 0, 124], np.float32))
    stored16 = np.array([0, 40000, 65535], np.uint16)
    found = _real_values(_output("ufixed16", Encoding((0.25,), (-32768,))), stored16)
    np.testing.assert_array_equal(found, np.array([-8192, 1808, 8191.75], np.float32))
    assert found.dtype == np.float32


def test_float_outputs_of_any_width() -> None:
    half = np.array([0.5, -1, 2], np.float16)
    found = _real_values(_output("float16", None), half)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, half)


@pytest.mark.parametrize("encoding", [None, Encoding((0.5, 0.5, 0.5), (0, 0, 0), axis=0)])
def test_an_output_without_a_usable_encoding(encoding) -> None:
    with pytest.raises(PersondetError, match="output scores is ufixed8 without a usable encoding"):
        _real_values(_output("ufixed8", encoding), np.zeros(3, np.uint8))
