"""What a run carries from step to step, and its file."""

import copy
import math
from typing import Any

import torch
from torch import nn

from persondet.training.config import TrainConfig


class MovingAverage:
    """Exponential moving average of a network's parameters and buffers (Polyak averaging).

    The decay grows from 0 with the number of updates, so that a short run is not all start.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    def update(self, network: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averaged = self.network.state_dict()
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                averaged[name].lerp_(value.detach(), 1 - decay)
            else:
                averaged[name].copy_(value)


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The rate of a step: linear warm-up, then cosine to 0 or division by 10 at config.steps."""
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    total = config.epochs * steps_per_epoch
    if config.schedule == "steps":
        passed = sum(step >= share * total for share in config.steps)
        return config.learning_rate * 0.1**passed
    progress = (step - warmup) / max(1.0, total - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def optimizer_for(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """SGD; biases and batch-norm parameters do not decay."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in network.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else plain).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
