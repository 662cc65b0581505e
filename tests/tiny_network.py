"""A detector small enough to convert and emulate in no time; nothing in it is square or single."""

from pathlib import Path

import torch
from torch import nn

from persondet.checkpoint import Checkpoint
from persondet.spec import AnchorLevel, DetectorSpec

TINY_SPEC = DetectorSpec(
    network="tiny",
    width_mult=1.0,
    class_names=("background", "person", "head"),
    input_size_hw=(48, 80),
    levels=(
        AnchorLevel((6, 10), (8.0, 8.0), ((8.0, 20.0), (16.0, 12.0))),
        AnchorLevel((3, 5), (16.0, 16.0), ((24.0, 40.0), (32.0, 30.0))),
    ),
)


class TinyNetwork(nn.Module):
    """Strided, depthwise and pointwise convolutions, batch norm, ReLU6, an addition, two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 5, 4, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
        )
        self.pointwise = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
        self.down = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.score_heads = nn.ModuleList(nn.Conv2d(8, 2 * 3, 1) for _ in range(2))
        self.box_heads = nn.ModuleList(nn.Conv2d(8, 2 * 4, 1) for _ in range(2))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        depthwise = self.depthwise(self.stem(images))
        first = depthwise + self.pointwise(depthwise)
        levels = (first, self.down(first))
        return _flat(self.score_heads, levels, 3), _flat(self.box_heads, levels, 4)


def _flat(heads: nn.ModuleList, levels: tuple[torch.Tensor, ...], values: int) -> torch.Tensor:
    rows = [
        head(level).permute(0, 2, 3, 1).reshape(level.shape[0], -1, values)
        for head, level in zip(heads, levels, strict=True)
    ]
    return torch.cat(rows, 1)


def tiny_checkpoint(path: Path) -> Checkpoint:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TinyNetwork().eval()
    randomise_batch_norm(network, seed=1)
    torch.save(network.state_dict(), path)
    return Checkpoint(TINY_SPEC, network, (), path)  # type: ignore[arg-type]


def randomise_batch_norm(network: nn.Module, seed: int) -> None:
    """Statistics as training leaves them, none of them 0 or 1, so that folding them wrongly shows.

    The gains are chosen so that a deep network neither fades nor amplifies rounding errors.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.weight.data.uniform_(0.7, 1.1, generator=generator)
            layer.bias.data.uniform_(-0.2, 0.2, generator=generator)
            layer.running_mean.uniform_(-0.2, 0.2, generator=generator)
            layer.running_var.uniform_(0.7, 1.3, generator=generator)
