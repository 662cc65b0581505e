"""A configuration goes to a dictionary and back; what is wrong in a file is named."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from persondet.errors import InputError
from persondet.training.config import (
    TrainConfig,
    config_from_dict,
    config_to_dict,
    read_config,
)
from persondet.training.rules import LossRule
from persondet.training.state import MovingAverage, learning_rate, optimizer_for


def test_a_configuration_survives_the_round_trip() -> None:
    config = TrainConfig(epochs=3, loss=LossRule("cross-entropy"), steps=(0.5,))
    assert config_from_dict(config_to_dict(config)) == config


def test_toml_fills_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text("epochs = 5\nlearning_rate = 1\n[augment]\nzoom_side_px = [10, 20]\n")
    config = config_from_dict(read_config(path))
    assert (config.epochs, config.learning_rate) == (5, 1.0)
    assert config.augment.zoom_side_px == (10.0, 20.0) and config.batch_size == 32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "unknown keys epoch in the top level"),
        ({"augment": {"mirorr": 0.5}}, r"unknown keys mirorr in \[augment\]"),
        ({"epochs": "3"}, 'epochs is "3", expected a int'),
        ({"epochs": 0}, "epochs is 0, expected at least 1"),
        ({"loss": {"classification": "hinge"}}, "loss 'hinge', expected one of focal"),
        ({"schedule": "linear"}, "schedule 'linear', expected one of cosine, steps"),
        ({"learning_rate": 0.0}, "learning_rate 0.0, expected a positive"),
        ({"match": 3}, r"\[match\] is no table"),
        ({"amp": 1}, "amp is 1, expected a bool"),
    ],
)
def test_what_is_wrong_is_named(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        config_from_dict(values)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text("epochs: 5")
    with pytest.raises(InputError, match=r"cannot read the configuration .*train\.toml"):
        read_config(path)


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    config = TrainConfig(epochs=10, learning_rate=0.1, warmup_epochs=1)
    rates = [learning_rate(config, step, 4) for step in range(40)]
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 0.001
    half = 4 + (40 - 4) / 2
    assert learning_rate(config, int(half), 4) == pytest.approx(0.05, rel=1e-6)


def test_steps_divide_the_rate_by_ten() -> None:
    config = TrainConfig(epochs=150, schedule="steps", warmup_epochs=0, learning_rate=1.0)
    rates = {epoch: learning_rate(config, epoch, 1) for epoch in (0, 79, 80, 119, 120, 149)}
    expected = {0: 1.0, 79: 1.0, 80: 0.1, 119: 0.1, 120: 0.01, 149: 0.01}
    assert rates == pytest.approx(expected)


def test_the_average_is_the_recurrence_that_it_says() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    average = MovingAverage(network, 0.9)
    expected = 0.0
    for update in range(1, 30):
        nn.init.constant_(network.weight, float(update))
        average.update(network)
        decay = min(0.9, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * update
    assert float(average.network.weight.detach()) == pytest.approx(expected, rel=1e-5)
    assert not math.isclose(expected, 29.0)


def test_norms_and_biases_do_not_decay() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    groups = optimizer_for(network, TrainConfig()).param_groups
    by_decay = {group["weight_decay"]: group["params"] for group in groups}
    assert [p.shape for p in by_decay[5e-4]] == [torch.Size([2, 1, 3, 3])]
    assert len(by_decay[0.0]) == 3
