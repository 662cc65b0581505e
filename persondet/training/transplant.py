"""Starting from another detector: its layers where they fit, and its heads where the anchors do.

Detectors of one family differ in small ways that a plain copy of weights gets wrong: the epsilon of
batch norm, the activation, on which side a stride-2 convolution pads. What can be made up for by
arithmetic is; the rest is taken up by batch-norm statistics measured anew on real pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from persondet.networks.layers import TfSameConv2d
from persondet.networks.ssd import SSD
from persondet.spec import AnchorLevel, DetectorSpec
from persondet.training.correspondence import common_classes, common_levels, same_anchors
from persondet.training.initial import start_from_checkpoint
from persondet.wording import counted


@dataclass(frozen=True)
class _Head:
    """Of one level: depthwise, norm, (activation,) pointwise."""

    depthwise: nn.Conv2d
    norm: nn.BatchNorm2d
    pointwise: nn.Conv2d


@torch.no_grad()
def start_from_network(
    network: SSD,
    spec: DetectorSpec,
    source: SSD,
    source_spec: DetectorSpec,
    images: Callable[[], Tensor],
) -> list[str]:
    """Fill the network from a trained one; returns what was done, as notes.

    images: gives (N, 3, H, W) normalised, real ones; batch norm is measured on them where the two
    networks are not of one kind. Raises InputError where the source has no backbone that fits.
    """
    notes = start_from_checkpoint(network, source.state_dict())
    if spec.network == source_spec.network:
        return notes
    _adapt_norms(network, source)
    kept = 0
    for level, source_level in common_levels(spec, source_spec):
        kept += _copy_heads(network, spec, level, source, source_spec, source_level)
    if kept:
        shapes = counted(kept, "shape")
        notes.append(f"of these, the heads of {source_spec.network} stay for {shapes} of anchors")
    pictures = images()
    recalibrate(network, pictures)
    notes.append(f"batch norm measured on {counted(len(pictures), 'picture')}")
    return notes


@torch.no_grad()
def recalibrate(network: nn.Module, images: Tensor, batch_size: int = 32) -> None:
    """Set the statistics of every batch norm to those of these images."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    training = network.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over the batches
    network.train()
    for start in range(0, len(images), batch_size):
        network(images[start : start + batch_size])
    network.train(training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _adapt_norms(network: SSD, source: SSD) -> None:
    """Scale the copied norms so that another epsilon gives the same result."""
    theirs = dict(source.named_modules())
    for name, norm in network.named_modules():
        other = theirs.get(name)
        if not (isinstance(norm, nn.BatchNorm2d) and isinstance(other, nn.BatchNorm2d)):
            continue
        if norm.num_features == other.num_features:
            _copy_norm(norm, other)


def _copy_norm(norm: nn.BatchNorm2d, other: nn.BatchNorm2d) -> None:
    assert other.running_var is not None
    scale = torch.sqrt((other.running_var + norm.eps) / (other.running_var + other.eps))
    norm.load_state_dict(other.state_dict())
    norm.weight.mul_(scale)


def _copy_heads(
    network: SSD,
    spec: DetectorSpec,
    level: int,
    source: SSD,
    source_spec: DetectorSpec,
    source_level: int,
) -> int:
    """Copy the heads of one level for anchors and classes that both have; how many anchors."""
    anchors = same_anchors(spec.levels[level], source_spec.levels[source_level])
    classes = common_classes(spec, source_spec)
    shift_wh_px = _shift_wh_px(spec, spec.levels[level], network, source)
    heads = [
        _separable(network.classification_headers[level]),
        _separable(source.classification_headers[source_level]),
        _separable(network.regression_headers[level]),
        _separable(source.regression_headers[source_level]),
    ]
    whole = [head for head in heads if head is not None]
    if not (anchors and classes) or len(whole) < len(heads):
        return 0
    scores, their_scores, boxes, their_boxes = whole
    if scores.depthwise.weight.shape != their_scores.depthwise.weight.shape:
        return 0
    for head, theirs in ((scores, their_scores), (boxes, their_boxes)):
        head.depthwise.weight.copy_(theirs.depthwise.weight)
        _bias(head.depthwise).copy_(_bias(theirs.depthwise))
        _copy_norm(head.norm, theirs.norm)
    for mine, other in anchors:
        _copy_class_rows(
            (scores.pointwise, mine * spec.num_classes),
            (their_scores.pointwise, other * source_spec.num_classes),
            classes,
            source_spec.score_function,
        )
        rows, other_rows = slice(4 * mine, 4 * mine + 4), slice(4 * other, 4 * other + 4)
        boxes.pointwise.weight[rows] = their_boxes.pointwise.weight[other_rows]
        bias = _bias(boxes.pointwise)
        bias[rows] = _bias(their_boxes.pointwise)[other_rows]
        width, height = spec.levels[level].shapes_wh_px[mine]
        bias[4 * mine] -= shift_wh_px[0] / (spec.variances[0] * width)
        bias[4 * mine + 1] -= shift_wh_px[1] / (spec.variances[0] * height)
    return len(anchors)


def _copy_class_rows(
    to: tuple[nn.Conv2d, int],
    source: tuple[nn.Conv2d, int],
    classes: list[tuple[int, int]],
    score_function: str,
) -> None:
    """Rows of one anchor, from each convolution's first row on. Of sigmoid scores the background's
    logit becomes 0: the softmax of (0, x) is the sigmoid of x."""
    (mine, row), (theirs, other_row) = to, source
    background = 0.0 if score_function == "sigmoid" else 1.0
    mine.weight[row] = background * theirs.weight[other_row]
    _bias(mine)[row] = background * _bias(theirs)[other_row]
    for index, other in classes:
        mine.weight[row + index] = theirs.weight[other_row + other]
        _bias(mine)[row + index] = _bias(theirs)[other_row + other]


def _shift_wh_px(
    spec: DetectorSpec, level: AnchorLevel, network: SSD, source: SSD
) -> tuple[float, float]:
    """How far right and down of where it is the source's heads see what lies in a cell of ours.

    TensorFlow pads an even axis (0, 1) where ours is padded (1, 1): each such stride-2 convolution
    looks one step of its input further to the left here.
    """
    difference = _pads_as_tf(source) - _pads_as_tf(network)
    shifts = []
    for size, cells in zip(reversed(spec.input_size_hw), reversed(level.grid_hw), strict=True):
        shift, step = 0, 1
        while size > cells:
            shift += step if size % 2 == 0 else 0
            size, step = -(-size // 2), 2 * step
        shifts.append(float(difference * shift))
    return shifts[0], shifts[1]


def _pads_as_tf(network: SSD) -> bool:
    return any(isinstance(module, TfSameConv2d) for module in network.modules())


def _separable(head: nn.Module) -> _Head | None:
    """None for the plain convolution of a last level."""
    if not isinstance(head, nn.Sequential):
        return None
    depthwise, norm, _, pointwise = head
    assert isinstance(depthwise, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert isinstance(pointwise, nn.Conv2d)
    return _Head(depthwise, norm, pointwise)


def _bias(convolution: nn.Conv2d) -> Tensor:
    """Zeros where it has none."""
    if convolution.bias is None:
        return torch.zeros(convolution.out_channels)
    return convolution.bias
