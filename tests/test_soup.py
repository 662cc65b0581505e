"""The mean of checkpoints."""

from pathlib import Path

import pytest
import torch

from persondet.checkpoint import load_checkpoint, save_checkpoint
from persondet.errors import InputError
from persondet.networks import build_network, initialise
from persondet.training.soup import soup
from persondet.zoo import F38, detector_spec


def saved(path: Path, seed: int, ratio: float = 1.7) -> Path:
    spec = detector_spec(F38, width_mult=0.25, anchor_ratios=[ratio])
    network = build_network(spec)
    initialise(network, seed)
    save_checkpoint(path, network, spec, {"seed": seed})
    return path


def test_the_mean_is_weighted(tmp_path: Path) -> None:
    one, two = saved(tmp_path / "1.pth", 1), saved(tmp_path / "2.pth", 2)
    soup([one, two], [0.25, 0.75], tmp_path / "mean.pth")
    mean, a, b = (load_checkpoint(path) for path in (tmp_path / "mean.pth", one, two))
    for name, value in mean.network.state_dict().items():
        if value.is_floating_point():
            expected = 0.25 * a.network.state_dict()[name] + 0.75 * b.network.state_dict()[name]
            torch.testing.assert_close(value, expected)
    assert mean.spec == b.spec
    assert mean.training == {"seed": 2, "mean_of": 2, "mean_weights": [0.25, 0.75]}


def test_other_anchors_and_wrong_weights_are_refused(tmp_path: Path) -> None:
    one, other = saved(tmp_path / "1.pth", 1), saved(tmp_path / "2.pth", 2, ratio=1.0)
    with pytest.raises(InputError, match=r"1\.pth and .*2\.pth: expected one network"):
        soup([one, other], [0.5, 0.5], tmp_path / "mean.pth")
    with pytest.raises(InputError, match=r"expected 2, 1 in all"):
        soup([one, one], [0.5, 0.6], tmp_path / "mean.pth")
