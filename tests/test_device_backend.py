"""Which tensors go to the device, and when."""

from pathlib import Path

import numpy as np
import pytest
from tiny_detector import SPEC

from benchmarks.devices import device_backend as module
from benchmarks.devices.device_backend import DeviceBackend
from benchmarks.devices.python_board import BoardRuns
from benchmarks.devices.shell_line import DeviceLostError


class FakeBoard:
    """Gives each tensor's mean as every output."""

    name, spec = "ssh:board", SPEC

    def __init__(self) -> None:
        self.batches: list[list[float]] = []

    def run(self, tensors) -> BoardRuns:
        means = np.array([tensor.mean() for tensor in tensors], np.float32)
        self.batches.append(means.tolist())
        outputs = {
            name: np.broadcast_to(means[:, None, None], (len(tensors), *shape[1:]))
            for name, shape in SPEC.output_shapes.items()
        }
        return BoardRuns(outputs, np.zeros((1, len(tensors)), np.int64), 0, "HTP", True, {})


def tensor(value: float) -> np.ndarray:
    return np.full(SPEC.input_shape, value, np.float32)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> DeviceBackend:
    monkeypatch.setattr(module, "_BATCH_TENSORS", 3)
    return DeviceBackend(Path("m.dlc"), FakeBoard())


def answers(backend: DeviceBackend, values) -> list[float]:
    outputs = [backend.infer(tensor(value)) for value in values]
    assert all(each["scores"].shape == (1, 38, 3) for each in outputs)
    return [float(each["boxes"][0, 0, 0]) for each in outputs]


def test_what_it_is(backend: DeviceBackend) -> None:
    assert backend.name == "m.dlc on ssh:board" and backend.spec is SPEC
    assert backend._board.batches == []
    assert backend.device == backend.device == "ssh:board: HTP"
    assert backend._board.batches == [[0.0]]


def test_announced_tensors_go_there_in_batches(backend: DeviceBackend) -> None:
    backend.prefetch(map(tensor, range(1, 8)))
    assert answers(backend, range(1, 8)) == [1, 2, 3, 4, 5, 6, 7]
    assert backend._board.batches == [[1, 2, 3], [4, 5, 6], [7]]


def test_they_are_made_when_they_are_needed(backend: DeviceBackend) -> None:
    made = []
    backend.prefetch(made.append(value) or tensor(value) for value in range(7))
    assert made == []
    answers(backend, [0])
    assert made == [0, 1, 2]


def test_others_are_run_alone_and_repeated_ones_again(backend: DeviceBackend) -> None:
    backend.prefetch(map(tensor, [1, 1, 2]))
    assert answers(backend, [1, 1, 2, 9]) == [1, 1, 2, 9]
    assert backend._board.batches == [[1, 1, 2], [1], [9]]


def test_a_device_that_goes_away_is_passed_on(backend: DeviceBackend, monkeypatch) -> None:
    def lost(tensors):
        raise DeviceLostError("ssh:board went away")

    monkeypatch.setattr(backend._board, "run", lost)
    with pytest.raises(DeviceLostError, match=r"went away"):
        backend.infer(tensor(1))
