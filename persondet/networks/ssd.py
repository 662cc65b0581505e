"""The detector's skeleton: backbone, taps, extras, heads, and the order of the outputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from persondet.errors import InputError
from persondet.networks.layers import InvertedResidual
from persondet.spec import DetectorSpec


@dataclass(frozen=True)
class Tap:
    """Where a feature map leaves the backbone.

    index: after this entry of base_net; inside: instead after the expansion in that block.
    stride: of the map, in input pixels.
    """

    index: int
    stride: int
    inside: bool = False


def check_levels(spec: DetectorSpec, num_levels: int, first_stride: int) -> None:
    """InputError unless the spec's grids are the maps that the network makes of the input."""
    grid_hw = tuple(-(-size // first_stride) for size in spec.input_size_hw)
    expected = []
    for _ in range(num_levels):
        expected.append(grid_hw)
        grid_hw = tuple(-(-size // 2) for size in grid_hw)
    found = [level.grid_hw for level in spec.levels]
    if found != expected:
        raise InputError(
            f"the anchor levels of the spec do not fit {spec.network} with input HxW "
            f"{spec.input_size_hw}: expected the grids {expected}, got {found}"
        )


class SSD(nn.Module):
    """float32 (N,3,H,W) normalised to scores (N,A,classes), logits, and boxes (N,A,4), offsets.

    Offsets are x, y, w, h of the SSD box code; anchors come in the order of `persondet.anchors`.
    The names of the four children are those of published checkpoints.
    """

    def __init__(
        self,
        base_net: nn.Sequential,
        taps: Sequence[Tap],
        extras: nn.ModuleList,
        classification_headers: nn.ModuleList,
        regression_headers: nn.ModuleList,
        spec: DetectorSpec,
    ):
        super().__init__()
        self.base_net = base_net
        self.extras = extras
        self.classification_headers = classification_headers
        self.regression_headers = regression_headers
        self.num_classes = spec.num_classes
        self._taps = {tap.index: tap for tap in taps}
        self._anchors_a_level = [level.num_anchors for level in spec.levels]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        scores, boxes = [], []
        for level, features in enumerate(self._feature_maps(images)):
            class_map = self.classification_headers[level](features)
            box_map = self.regression_headers[level](features)
            scores.append(self._rows(class_map, level, self.num_classes))
            boxes.append(self._rows(box_map, level, 4))
        return torch.cat(scores, dim=1), torch.cat(boxes, dim=1)

    def _feature_maps(self, x: Tensor) -> Iterator[Tensor]:
        for index, layer in enumerate(self.base_net):
            tap = self._taps.get(index)
            if tap and tap.inside:
                assert isinstance(layer, InvertedResidual)
                x = layer.expand(x)
                yield x
                x = layer.reduce(x)
            else:
                x = layer(x)
                if tap:
                    yield x
        for extra in self.extras:
            x = extra(x)
            yield x

    def _rows(self, head_map: Tensor, level: int, numbers_an_anchor: int) -> Tensor:
        """(N, anchors a cell * numbers, rows, columns) to (N, anchors of the level, numbers)."""
        rows = self._anchors_a_level[level]
        channels_last = head_map.permute(0, 2, 3, 1)
        return channels_last.reshape(head_map.shape[0], rows, numbers_an_anchor)
