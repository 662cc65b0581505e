"""runtime.qairt.executor: the emulated HTP computes what onnxruntime computes."""

import dataclasses
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from persondet.errors import InputError, PersondetError
from persondet.images import read_image_rgb
from persondet.preprocess import preprocess
from runtime.onnx_session import open_session
from runtime.qairt import chatter
from runtime.qairt.chatter import chatter_held_back
from runtime.qairt.executor import ARCHS, DlcExecutor

RELATIVE = 1e-5  # of the largest output


@pytest.fixture(scope="module")
def executor(tiny_dlc):
    opened = DlcExecutor(tiny_dlc)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, 48, 80), np.float32)


def _reference(onnx_path, image) -> dict[str, np.ndarray]:
    session = open_session(onnx_path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image}), strict=True))


def _assert_close(found, expected) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == np.float32
        assert np.abs(array).max() > 0.01
        assert np.abs(found[name] - array).max() <= RELATIVE * np.abs(array).max()


def test_tiny_of_three_classes(executor, tiny_onnx, image) -> None:
    expected = _reference(tiny_onnx, image)
    _assert_close(executor.execute({"image": image}), expected)
    _assert_close(
        executor.execute({"image": image[..., ::-1]}),
        _reference(tiny_onnx, image[..., ::-1].copy()),
    )
    _assert_close(executor.execute({"image": image}), expected)  # no trace of the other


def test_rfb_of_240_by_320(rfb_dlc, rfb_onnx) -> None:
    session = open_session(rfb_onnx)
    assert session.get_inputs()[0].shape == [1, 3, 240, 320]
    image = np.random.default_rng(1).uniform(-1, 1, (1, 3, 240, 320)).astype(np.float32)
    opened = DlcExecutor(rfb_dlc, arch=75)
    found = opened.execute({"image": image})
    opened.close()
    _assert_close(found, _reference(rfb_onnx, image))


def test_uint8_nhwc_equals_the_float_path(
    tiny_uint8_dlc, tiny_onnx, tiny_checkpoint, astronaut
) -> None:
    picture = read_image_rgb(astronaut)
    spec = tiny_checkpoint.spec
    expected = _reference(tiny_onnx, preprocess(picture, spec))
    opened = DlcExecutor(tiny_uint8_dlc)
    tensor = opened.inputs["image"]
    assert (tensor.shape, tensor.numpy_dtype) == ((1, 48, 80, 3), "uint8")
    pixels = preprocess(picture, dataclasses.replace(spec, input_format="uint8-nhwc"))
    _assert_close(opened.execute({"image": pixels}), expected)
    opened.close()


@pytest.mark.parametrize("arch", ARCHS)
def test_every_architecture_computes_floats_alike(tiny_dlc, tiny_onnx, image, arch) -> None:
    opened = DlcExecutor(tiny_dlc, arch=arch)
    found = opened.execute({"image": image})
    opened.close()
    _assert_close(found, _reference(tiny_onnx, image))


@pytest.mark.parametrize("arch", [0, 12, 66, 999])
def test_an_unknown_architecture(tiny_dlc, arch) -> None:
    with pytest.raises(InputError, match=rf"Hexagon v{arch} cannot be emulated; known: v68, "):
        DlcExecutor(tiny_dlc, arch=arch)


def test_inputs_and_outputs_are_described(executor) -> None:
    assert executor.inputs["image"].shape == (1, 3, 48, 80)
    assert {name: t.shape for name, t in executor.outputs.items()} == {
        "scores": (1, 150, 3),
        "boxes": (1, 150, 4),
    }


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, r"takes the inputs image, got nothing"),
        ({"picture": np.zeros((1, 3, 48, 80), np.float32)}, "inputs image, got picture"),
        ({"image": np.zeros((1, 3, 80, 48), np.float32)}, r"\(1, 3, 48, 80\), got .*80, 48"),
        ({"image": np.zeros((1, 48, 80, 3), np.float32)}, r"\(1, 3, 48, 80\), got .*48, 80, 3"),
        ({"image": np.zeros((2, 3, 48, 80), np.float32)}, r"got float32 \(2, 3, 48, 80\)"),
        ({"image": np.zeros((1, 3, 48, 80))}, "expected float32 .*, got float64"),
        ({"image": np.zeros((1, 3, 48, 80), np.uint8)}, "expected float32 .*, got uint8"),
        ({"image": np.zeros((1, 3, 48, 80), ">f4")}, "expected float32 .*, got >f4"),
    ],
)
def test_wrong_inputs(executor, tensors, message) -> None:
    with pytest.raises(InputError, match=message):
        executor.execute(tensors)


def test_two_at_a_time_and_closing(tiny_dlc, tiny_onnx, executor, image) -> None:
    expected = _reference(tiny_onnx, image)
    other = DlcExecutor(tiny_dlc)
    _assert_close(other.execute({"image": image}), expected)
    other.close()
    other.close()
    with pytest.raises(PersondetError, match="is closed"):
        other.execute({"image": image})
    _assert_close(executor.execute({"image": image}), expected)


def test_files_that_cannot_be_opened(tmp_path, shared_dlc) -> None:
    with pytest.raises(InputError, match="no such file"):
        DlcExecutor(tmp_path / "gone.dlc")
    with pytest.raises(InputError, match=r"SNPE 1\.x"):
        DlcExecutor(shared_dlc / "test_abs.dlc")


def test_standard_output_stays_clean(tiny_dlc) -> None:
    """From the first loading of the libraries to the end of the process."""
    code = (
        "import sys, pathlib, numpy as np\n"
        "from runtime.qairt.executor import DlcExecutor\n"
        "print('before')\n"
        "executor = DlcExecutor(pathlib.Path(sys.argv[1]), arch=75)\n"
        "executor.execute({'image': np.zeros((1, 3, 48, 80), np.float32)})\n"
        "print('after')\n"
        "executor.close()\n"
    )
    argv = [sys.executable, "-c", code, str(tiny_dlc)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "before\nafter\n"
    assert done.stderr == ""


def test_chatter_is_thrown_away_or_told(capfd) -> None:
    print("one")
    with chatter_held_back():
        os.write(1, b"chatter\n")
    told = pytest.raises(InputError, match=r"^broken\nQualcomm's library printed:\n<E> why$")
    with told, chatter_held_back():
        os.write(1, b"# LIBNATIVE: as always\n<E> why\n")
        raise InputError("broken")
    with pytest.raises(PersondetError, match=r"^silent$"), chatter_held_back():
        raise PersondetError("silent")
    with pytest.raises(ValueError, match=r"^a bug$"), chatter_held_back():
        os.write(1, b"chatter\n")
        raise ValueError("a bug")
    with chatter_held_back(), chatter_held_back():
        os.write(1, b"chatter\n")
    os.write(1, b"two\n")
    assert capfd.readouterr() == ("one\ntwo\n", "")


def test_threads_do_not_take_standard_output_from_each_other(capfd) -> None:
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with chatter_held_back():
            inside.set()
            leave.wait(5)

    def second() -> None:
        with chatter_held_back():
            leave.set()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    inside.wait(5)
    threads[1].start()
    threads[1].join(0.05)
    assert threads[1].is_alive()  # it waits for its turn
    leave.set()
    for thread in threads:
        thread.join(5)
    os.write(1, b"still here\n")
    assert capfd.readouterr().out == "still here\n"
    assert chatter._REDIRECTING.acquire(blocking=False)
    chatter._REDIRECTING.release()
